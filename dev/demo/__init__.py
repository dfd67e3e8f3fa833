"""The README's first command: a model from data to production and back, on a real cluster."""
