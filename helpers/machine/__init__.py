"""The machine: what it is, what it can compute in, and what stands in the way. Standard library only at import."""
