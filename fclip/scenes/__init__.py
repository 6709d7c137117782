"""The surroundings of an object in a synthetic photograph: backgrounds, light, shadow and obstacles."""
