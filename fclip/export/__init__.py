"""Files for other programs: training data as WebDataset shards, models in the form of transformers."""
