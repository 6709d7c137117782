"""Stored, normalised embeddings of a catalog, and search in them."""
