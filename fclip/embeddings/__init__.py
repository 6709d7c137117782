"""Stored, normalised embeddings of a catalog, and embedding files."""
