"""The model registry: the only part of the project that knows MLflow."""
