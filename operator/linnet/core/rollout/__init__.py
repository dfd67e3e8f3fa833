"""How a ModelDeployment moves traffic, judges a candidate and returns from it."""
