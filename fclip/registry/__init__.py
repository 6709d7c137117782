"""The model registry: the only part of the project that knows MLflow. (`registry.py` elsewhere lists extensions.)"""
