"""The model registry, the only package that uses MLflow. (Modules called `registry.py` list extensions.)"""
