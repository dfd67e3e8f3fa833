"""A real Kubernetes cluster from one command, for Linnet's demo and tests."""
