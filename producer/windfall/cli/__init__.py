"""The command line. Commands parse, call and print; the work is done elsewhere."""

from windfall.cli.app import main

__all__ = ["main"]
