"""The command `fclip`. `python -m flows.cli` runs the same command."""
