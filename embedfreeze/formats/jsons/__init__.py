"""JSON that maps tokens to lists of numbers."""
