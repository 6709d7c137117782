"""Kinds of base models for training: one module per kind, collected by `registry`."""
