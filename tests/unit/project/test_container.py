"""The Dockerfile, docker-compose.yml and what belongs to them, as far as that can be known without a Docker engine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from windfall.broker.connection import redact
from windfall_worker.settings import ModelSettings, WorkerSettings

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())  # type: ignore[no-untyped-call]
    return found


def instructions(name: str) -> list[str]:
    """What follows a word of the Dockerfile, with continued lines joined."""
    text = DOCKERFILE.replace("\\\n", " ")
    return [line.removeprefix(name).strip() for line in text.splitlines() if line.startswith(f"{name} ")]


def test_hadolint_finds_nothing(tmp_path: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    config = tmp_path / "hadolint.yaml"  # in place of one of whoever runs this
    config.write_text("{}\n")
    done = subprocess.run(
        [hadolint, "--config", config, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_whoever_unpacks_the_source_has_what_an_image_is_built_from() -> None:
    sdist = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"]
    files = {"Dockerfile", ".dockerignore", "docker-compose.yml", ".env.example"}
    assert files <= set(sdist["include"])
    assert all((ROOT / name).exists() for name in files)


def test_the_image_is_built_from_this_repository_and_holds_no_more_than_the_cloud_worker_needs() -> None:
    copied = [words.split()[:-1] for words in instructions("COPY") if not words.startswith("--from=")]
    sources = [source for words in copied for source in words]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in ignored
    (build,) = (run for run in instructions("RUN") if "pip install" in run)
    assert "'.[cloud]'" in build


def test_the_image_runs_as_nobody_special_and_hears_what_stops_it() -> None:
    (user,) = instructions("USER")
    assert user not in ("root", "0")
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    # A shell as the first process would keep SIGTERM to itself.
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["windfall"]
    assert json.loads(instructions("CMD")[0]) == ["worker"]


def test_the_redis_keeps_what_it_is_given_and_wants_a_password(compose: dict[str, Any]) -> None:
    redis = compose["services"]["redis"]
    words = redis["command"]
    settings = dict(zip(words[1::2], words[2::2], strict=True))
    assert settings["--appendonly"] == "yes"
    assert settings["--maxmemory-policy"] == "noeviction"
    assert settings["--requirepass"].startswith("${WINDFALL_REDIS_PASSWORD:?")
    assert settings["--maxmemory"] == "${WINDFALL_REDIS_MAXMEMORY:-1gb}"
    assert redis["ports"] == ["${WINDFALL_REDIS_BIND:-127.0.0.1}:${WINDFALL_REDIS_PORT:-6379}:6379"]
    assert redis["healthcheck"]["test"][0] == "CMD"
    assert redis["volumes"] == ["redis:/data"]
    assert "redis" in compose["volumes"]


def test_the_cloud_worker_comes_only_when_asked_for_and_has_time_to_drain(compose: dict[str, Any]) -> None:
    worker = compose["services"]["worker"]
    assert worker["profiles"] == ["cloud"]
    assert worker["depends_on"] == {"redis": {"condition": "service_healthy"}}
    drain = WorkerSettings(models=(ModelSettings(name="m", simulate=0),)).drain_timeout
    assert float(worker["stop_grace_period"].removesuffix("s")) > drain
    url = worker["environment"]["WINDFALL_REDIS_URL"]
    assert redact(url) == "redis://:***@redis:6379"


def test_each_variable_of_the_compose_file_is_explained_in_the_example() -> None:
    used = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    explained = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert explained == used - {"WINDFALL_REDIS_PORT"}
