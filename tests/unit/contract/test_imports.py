"""Dependencies point one way: a producer never loads what only a worker needs."""

from __future__ import annotations

import subprocess
import sys


def test_importing_windfall_and_its_command_line_loads_no_worker_no_http_and_no_mlx() -> None:
    program = (
        "import sys, windfall, windfall.cli\n"
        "heavy = {'windfall_worker', 'httpx', 'pybreaker', 'mlx', 'mlx_lm', 'transformers', 'fakeredis',\n"
        "         'structlog', 'prometheus_client', 'opentelemetry'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_what_the_command_line_takes_from_the_worker_loads_no_http() -> None:
    program = (
        "import sys, windfall_worker.cloud.key_origins, windfall_worker.guards.circuit, windfall_worker.settings\n"
        "import windfall_worker.guards.cooldown\n"
        "print(sorted({'httpx', 'pybreaker', 'mlx', 'windfall_worker.cloud.client'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
