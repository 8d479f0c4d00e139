"""The tokens of a matrix that holds none, in a file beside it."""
