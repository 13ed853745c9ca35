"""The worker side of Windfall: it claims jobs, runs them on a backend and gives each exactly one result."""
