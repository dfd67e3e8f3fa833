"""Drift: when a check runs, what its result means, and when the model is trained anew."""
