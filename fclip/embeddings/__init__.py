"""Stored, normalised embeddings of a catalog, and exact search in them."""
