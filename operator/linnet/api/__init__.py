"""The vocabulary: what users write and read, values only."""
