"""Retrain CLIP on a product catalog, and prove that the new model is better."""
