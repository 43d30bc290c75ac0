"""For maintainers; not installed with the package."""
