"""One page that says what a run did to the model, and why."""
