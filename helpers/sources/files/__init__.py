"""Rows from files: which files a source holds, what kind each is, and its rows. Standard library only at import."""
