"""Conversion of CLIP models between the forms of transformers and open_clip."""
