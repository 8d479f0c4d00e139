"""Rows of text: GloVe, word2vec, CSV, TSV, and the pair of TensorBoard's projector."""
