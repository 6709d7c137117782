"""HTML pages about a run: the retraining report and the comparison of two models."""
