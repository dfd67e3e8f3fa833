"""The monitor: what a live model is compared with."""
