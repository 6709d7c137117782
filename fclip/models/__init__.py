"""Model folders: how a model is stored, loaded, averaged and split; the list of candidates."""
