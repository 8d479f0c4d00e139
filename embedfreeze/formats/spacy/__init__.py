"""spaCy's folders of vectors."""
