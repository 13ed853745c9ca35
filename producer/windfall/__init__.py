"""Windfall: a queue for LLM completions. The public names; no logic."""
