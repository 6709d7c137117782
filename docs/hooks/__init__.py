"""The parts of the documentation that are generated when it is built."""
