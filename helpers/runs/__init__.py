"""Runs: one run is one folder with its record; and the process that runs a notebook without a browser."""
