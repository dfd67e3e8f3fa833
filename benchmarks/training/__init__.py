"""What the trainer costs beside plain scripts: `python -m benchmarks.training`."""
