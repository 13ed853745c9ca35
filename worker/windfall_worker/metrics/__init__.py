"""What a worker counts for Prometheus. `recorder` is the seam: the rest of the worker knows nothing else of it."""
