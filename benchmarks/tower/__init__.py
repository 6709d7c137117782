"""What an image tower costs on a CPU, forward and backward, and what makes it cheaper."""
