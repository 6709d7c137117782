"""Compare evaluation with clip-benchmark and marqo-FashionCLIP: speed and scores on the same products and models."""
