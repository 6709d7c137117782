"""Exports for other programs: training data as WebDataset shards, models for open_clip and transformers."""
