"""Models: what a start is, and how one is stored and loaded."""
