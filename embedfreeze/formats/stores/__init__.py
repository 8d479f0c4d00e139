"""The store: this package's own file."""
