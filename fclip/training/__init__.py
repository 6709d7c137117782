"""Fine-tuning: contrastive, from any start, exactly resumable; `python -m fclip.training JOB_DIR` stands alone."""
