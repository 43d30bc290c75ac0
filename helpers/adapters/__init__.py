"""What is trained in place of a model's own weights: prefixes, prompts for combinations; and adapters put to use."""
