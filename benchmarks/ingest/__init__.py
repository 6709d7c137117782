"""Measure the speed of ingest, compared with img2dataset and with decoding alone: `python -m benchmarks.ingest`."""
