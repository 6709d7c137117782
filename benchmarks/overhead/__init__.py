"""The time that fclip takes besides its work: commands, runs with nothing to do, and the overhead of stages."""
