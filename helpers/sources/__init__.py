"""Sources: where weights and rows come from. Standard library only at import."""
