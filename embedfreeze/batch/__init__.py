"""Batch jobs: from a corpus to counts of its tokens, and to features."""
