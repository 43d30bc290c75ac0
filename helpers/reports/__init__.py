"""Reports: many finished runs as tables and pages, and the tables in README and notebooks that come from them."""
