"""The decisions: pure functions from observations to plans."""
