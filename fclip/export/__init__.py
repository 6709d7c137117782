"""Export for other programs: training data as WebDataset shards, models in transformers format."""
