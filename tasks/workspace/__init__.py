"""The parts of a workspace that every step needs: paths, params, pins, locks, the stage process, and model weights."""
