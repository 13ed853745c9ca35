"""One job, from its request to its result."""
