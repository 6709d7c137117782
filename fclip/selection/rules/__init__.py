"""Selection rules: each module holds a family of them, and `registry` collects them all."""
