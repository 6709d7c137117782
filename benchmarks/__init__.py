"""Benchmarks that compare fclip with other tools, one command each. They are not part of the library."""
