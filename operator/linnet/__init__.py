"""The operator: watches three resources and brings the world closer to what they say."""
