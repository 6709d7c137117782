"""What surrounds an object in a photograph: backgrounds, light and shadow, things in front."""
