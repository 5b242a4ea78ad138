"""The catalog's schema, step by step. database.py runs what is missing when a catalog is opened."""
