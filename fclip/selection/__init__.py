"""Selection of one candidate of a fine-tuning run, and the promotion gate."""
