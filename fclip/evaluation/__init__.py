"""How good a model is on a dataset: protocols, metrics and their intervals."""
