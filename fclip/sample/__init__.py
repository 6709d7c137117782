"""A catalog that the project draws itself, so that the loop runs anywhere."""
