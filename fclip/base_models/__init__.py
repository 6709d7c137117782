"""Base models that training may start from: one module a kind, collected by `registry`."""
