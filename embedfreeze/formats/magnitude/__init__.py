"""Magnitude's SQLite files."""
