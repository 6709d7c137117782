"""What is judged, and how: one file a protocol, and `config` for what params say of them.

Each has a config (a `kind` in params), and makes of a split of a catalog a task: which images and texts it wants, and
what their features say.
"""
