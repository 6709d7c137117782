"""What every step needs of its workspace: paths, params, pins, the lock, a stage's process, and model weights."""
