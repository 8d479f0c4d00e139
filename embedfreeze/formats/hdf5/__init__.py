"""HDF5 files: one table and its tokens, as AllenNLP, pandas, Keras and others write them."""
