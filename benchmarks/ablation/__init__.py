"""What each part of the recipe in params/kagl.yaml is worth, in domain and outside."""
