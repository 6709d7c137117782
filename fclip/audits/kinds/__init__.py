"""The audits, one module each."""
