"""Contrastive fine-tuning of a base model, exactly resumable. `python -m fclip.training JOB_DIR` runs on its own."""
