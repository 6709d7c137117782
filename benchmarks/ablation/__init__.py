"""Measure the effect of each part of the recipe in params/kagl.yaml, in-domain and out-of-domain."""
