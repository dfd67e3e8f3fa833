"""False rollbacks and harmed requests of our verdict, beside the rules of others."""
