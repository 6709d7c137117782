"""The evaluation protocols, one module each. `registry` defines the declaration of a protocol."""
