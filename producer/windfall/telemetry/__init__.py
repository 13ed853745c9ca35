"""What the program tells of itself: logs, tracebacks without prompts, and traces."""
