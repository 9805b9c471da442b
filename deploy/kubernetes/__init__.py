"""The manifests; what is Python here writes one of them, and nothing of it runs beside the daemon."""
