"""The worker side of Windfall: it claims jobs, runs each on a backend, and gives each exactly one result."""
