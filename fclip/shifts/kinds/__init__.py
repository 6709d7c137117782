"""One file for each kind of shift."""
