"""The worker's side of the queue: claims, leases, results, orders, heartbeats."""
