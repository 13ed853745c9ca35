"""The command line. Every command parses, calls and prints; what it calls is elsewhere."""

from windfall.cli.app import main

__all__ = ["main"]
