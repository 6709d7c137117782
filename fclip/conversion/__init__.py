"""Conversion of CLIP models between the formats of transformers and open_clip."""
