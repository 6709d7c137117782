"""Selection rules. Each module defines related rules; `registry` collects all of them."""
