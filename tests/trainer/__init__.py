"""Tests of the trainer; `world` has what they share."""
