"""The command `fclip`; `python -m flows.cli` is the same."""
