"""Which candidate of a fine-tuning to keep."""
