"""A worker's side of the queue: claims, leases, ends, orders, heartbeats."""
