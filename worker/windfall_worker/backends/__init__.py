"""What can complete a request. `base` is the seam; every other module is one backend."""
