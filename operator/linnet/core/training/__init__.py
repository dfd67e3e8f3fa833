"""How a TrainingJob is brought to its end."""
