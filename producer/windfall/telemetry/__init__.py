"""Observability: logs, tracebacks without prompts, and traces."""
