"""A machine on which only the cloud extra is installed."""

from __future__ import annotations

import pytest

from windfall.errors import ConfigError
from windfall_worker.backends import opening
from windfall_worker.settings import ModelSettings, WorkerSettings


def test_a_model_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda _: None)
    small = ModelSettings(name="small", mlx="demo")
    with pytest.raises(
        ConfigError, match=r'small: running models needs the worker extra: pip install "windfall-llm\[worker\]"'
    ):
        opening.local_backend(small, opening.Engines(WorkerSettings(models=(small,))))
