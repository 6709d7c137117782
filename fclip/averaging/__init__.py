"""Averaging methods: each module makes new candidates by averaging the weights of others; `registry` collects them."""
