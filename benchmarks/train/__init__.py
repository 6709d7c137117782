"""How fast training goes, against open_clip's own and near to stepping alone. `python -m benchmarks.train`."""
