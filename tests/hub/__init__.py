"""A Hugging Face Hub on loopback, for tests: real clients talk to it through HF_ENDPOINT."""
