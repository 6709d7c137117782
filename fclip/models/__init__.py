"""Model folders: storing, loading and averaging of models, and the list of candidates."""
