"""What is trained in place of a model's own weights: prefixes, and prompts for combinations."""
