"""The steps of the pipeline, one module a step, named by its verb.

`workspace/` holds what every step needs. `base_model` (the base model or champion that training starts from),
`selection_result` and `external_dataset` (datasets that the workspace does not hold) serve several steps.
"""
