"""The steps of the pipeline: one module per step.

`workspace/` contains the code that every step needs. Several steps use `base_model` (the model that training starts
from), `selection_result` and `external_dataset` (datasets that the workspace has not ingested).
"""
