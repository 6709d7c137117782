"""Evaluation against the peers' loops, on the same products and models."""
