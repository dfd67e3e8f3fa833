"""Tests of the server: protocol, model, fetch, drain, and the demo's traffic."""
