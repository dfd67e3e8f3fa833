"""The trainer: from a table and a recipe to a version that passed its gates."""
