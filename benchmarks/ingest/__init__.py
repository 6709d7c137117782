"""How fast catalogs come in, against img2dataset, and near to decoding alone. `python -m benchmarks.ingest`."""
