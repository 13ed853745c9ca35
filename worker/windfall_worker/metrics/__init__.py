"""What a worker counts for Prometheus. The rest of the worker knows only `recorder`."""
