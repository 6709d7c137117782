"""Shifts: changed copies of a shop's own held-out products, to measure a model where the catalog is not."""
