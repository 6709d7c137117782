"""Profiles of catalogs: counts for people, and for comparison with a later catalog."""
