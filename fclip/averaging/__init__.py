"""Averaging methods, which make candidates by averaging weights: one module per method, collected by `registry`."""
