"""A drawn sample catalog, so that the pipeline runs without a download."""
