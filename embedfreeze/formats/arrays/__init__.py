"""NumPy arrays, and batches of the rows of any matrix whose tokens are known before."""
