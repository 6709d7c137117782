"""Audits: what a model is known to be weak at, measured on a shop's own catalog after every retraining."""
