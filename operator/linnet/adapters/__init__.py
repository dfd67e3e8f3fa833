"""The world, one file per system, no decisions."""
