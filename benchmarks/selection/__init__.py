"""Runs on real data that the study of selection rules is made of: a shop that trains, five domains that do not."""
