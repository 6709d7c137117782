"""The published index of a catalog: built once per model and catalog, searched by text, image, words and filters."""
