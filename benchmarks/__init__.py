"""Side-by-side measurements against peers, one command each. Nothing here is part of the library."""
