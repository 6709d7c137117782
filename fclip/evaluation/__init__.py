"""Evaluation of models on datasets: protocols, metrics and confidence intervals."""
