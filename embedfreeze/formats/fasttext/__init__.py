"""fastText's models."""
