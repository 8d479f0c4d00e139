"""How rows find the ids of a vocabulary: what `align.py` is made of."""
