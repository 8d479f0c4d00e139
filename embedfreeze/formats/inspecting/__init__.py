"""What a file is, and what is odd or wrong about it."""
