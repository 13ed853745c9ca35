"""`python -m windfall`."""

from windfall.cli import main

main()
