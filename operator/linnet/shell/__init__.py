"""The loop, the only place that knows Kopf."""
