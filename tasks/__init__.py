"""The steps of the pipeline, one module a step, named by its verb.

`workspace/` holds what every step needs. `start` (the base model or champion that training starts from),
`selection_result` and `elsewhere` (datasets that the workspace does not hold) serve several steps.
"""
