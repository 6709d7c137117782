"""Measure the cost of a refresh after 1 % of the products changed: `python -m benchmarks.refresh`."""
