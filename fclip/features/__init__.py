"""Features of images and texts, encoded once per model and cached."""
