"""Parquet files, and Arrow files and streams."""
