"""How a DriftPolicy is answered until its checks exist."""
