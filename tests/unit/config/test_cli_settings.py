"""Where settings come from, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from windfall.cli.models import models_for, worker_settings
from windfall.config.settings import load_settings
from windfall.errors import ConfigError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder and a configuration folder of the test's own."""
    for name in ("WINDFALL_REDIS_URL", "WINDFALL_MAX_ROW_BYTES"):
        monkeypatch.delenv(name, raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_without_any_setting_redis_is_the_one_of_this_machine() -> None:
    assert load_settings().redis == "redis://localhost:6379"


def test_each_place_wins_over_the_next(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "config" / "windfall" / "windfall.toml", 'redis = "redis://user-folder"')
    assert load_settings().redis == "redis://user-folder"
    write(folder / "work" / "windfall.toml", 'redis = "redis://working-folder"')
    assert load_settings().redis == "redis://working-folder"
    given = write(folder / "given.toml", 'redis = "redis://given"')
    assert load_settings(config=given).redis == "redis://given"
    monkeypatch.setenv("WINDFALL_REDIS_URL", "redis://environment")
    assert load_settings(config=given).redis == "redis://environment"
    assert load_settings(redis="redis://flag", config=given).redis == "redis://flag"


def test_an_empty_variable_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDFALL_REDIS_URL", "")
    assert load_settings().redis == "redis://localhost:6379"


def test_the_tables_of_the_worker_are_known_here(folder: Path) -> None:
    text = '[models.small]\nmlx = "demo"\nslots = 4\n[providers.openai]\nbase_url = "https://api.openai.com/v1"\n'
    write(folder / "work" / "windfall.toml", text)
    assert load_settings().models == {"small": {"mlx": "demo", "slots": 4}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('reddis = "x"', r"windfall\.toml, key 'reddis': unknown key; did you mean 'redis'\?"),
        ("redis = 7", r"windfall\.toml, key 'redis': must be a valid string"),
        ("max_row_bytes = 0", r"key 'max_row_bytes': must be greater than 0"),
        ("models = 1", r"key 'models': must be a valid dictionary"),
        ("redis = ", r"windfall\.toml is not valid TOML"),
    ],
)
def test_a_wrong_file_is_told_of_with_its_key(folder: Path, text: str, said: str) -> None:
    write(folder / "work" / "windfall.toml", text)
    with pytest.raises(ConfigError, match=said):
        load_settings()


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDFALL_MAX_ROW_BYTES", "many")
    with pytest.raises(ConfigError, match="environment variable WINDFALL_MAX_ROW_BYTES"):
        load_settings()


def test_a_file_that_is_not_there_is_told_of(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"settings file .* not found"):
        load_settings(config=folder / "none.toml")


@pytest.mark.parametrize("url", ["redis://:s3cret@host", "redis+sentinel://a:1/m?sentinel_password=s3cret"])
def test_a_file_with_a_password_that_others_can_read_is_refused(folder: Path, url: str) -> None:
    path = write(folder / "work" / "windfall.toml", f'redis = "{url}"')
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"holds the password of Redis, and others can read it; run: chmod 600 ") as c:
        load_settings()
    assert "s3cret" not in str(c.value)
    path.chmod(0o600)
    assert load_settings().redis == url


def test_a_file_without_a_password_may_be_read_by_others(folder: Path) -> None:
    write(folder / "work" / "windfall.toml", 'redis = "redis://host"').chmod(0o644)
    assert load_settings().redis == "redis://host"


def test_the_password_is_not_in_the_settings_repr() -> None:
    assert "s3cret" not in repr(load_settings(redis="redis://:s3cret@host"))


def test_flags_for_one_name_come_together_and_files_serve_without_flags(folder: Path) -> None:
    from windfall.cli.models import models_for, providers_of  # noqa: PLC0415 - needs the worker package

    write(folder / "work" / "windfall.toml", '[models.big]\nmlx = "demo"\n[providers.openai]\nmax_retries = 7\n')
    settings = load_settings()
    (small,) = models_for(["small=demo"], [], ["small=openai:a", "small=anthropic:b"], 4, settings)
    assert (small.mlx, small.cloud, small.slots) == ("demo", ("openai:a", "anthropic:b"), 4)
    (big,) = models_for([], [], [], None, settings)
    assert (big.name, big.mlx, big.slots) == ("big", "demo", 32)
    provider = providers_of(settings)["openai"]
    assert (provider.max_retries, provider.api_key_env) == (7, "OPENAI_API_KEY")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('mlxx = "demo"', r"model 'm', mlxx: unknown field; did you mean 'mlx'\?"),
        ("slots = 0", r"model 'm', slots: must be greater than or equal to 1"),
    ],
)
def test_a_wrong_model_table_is_told_of_with_its_key(folder: Path, table: str, said: str) -> None:
    from windfall.cli.models import models_for  # noqa: PLC0415 - needs the worker package

    write(folder / "work" / "windfall.toml", f"[models.m]\n{table}\n")
    with pytest.raises(ConfigError, match=said):
        models_for([], [], [], None, load_settings())


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("max_retry = 3", r"provider 'openai', max_retry: unknown field; did you mean 'max_retries'\?"),
        ("[providers.openai.breaker]\nfailmax = 3", r"provider 'openai', breaker.failmax: .*did you mean 'fail_max'\?"),
    ],
)
def test_a_wrong_provider_table_is_told_of_with_its_key(folder: Path, table: str, said: str) -> None:
    write(folder / "work" / "windfall.toml", f"[providers.openai]\n{table}\n[models.m]\nmlx = 'demo'\n")
    settings = load_settings()
    with pytest.raises(ConfigError, match=said):
        worker_settings(settings, {"models": models_for([], [], [], None, settings)})


def test_the_worker_table_stands_under_the_flags(folder: Path) -> None:
    write(folder / "work" / "windfall.toml", '[worker]\nlease = 5\nname = "mini"\n[models.small]\nmlx = "demo"\n')
    settings = load_settings()
    found = worker_settings(settings, {"lease": 20.0, "models": models_for([], [], [], None, settings)})
    assert (found.lease, found.name) == (20.0, "mini")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("leese = 5", r"\[worker\], leese: unknown field; did you mean 'lease'\?"),
        ("models = 5", r"\[worker\] table has no key 'models': write \[models\.NAME\] tables"),
    ],
)
def test_a_wrong_key_of_the_worker_table_is_named(folder: Path, text: str, said: str) -> None:
    write(folder / "work" / "windfall.toml", f'[worker]\n{text}\n[models.small]\nmlx = "demo"\n')
    settings = load_settings()
    with pytest.raises(ConfigError, match=said):
        worker_settings(settings, {"models": models_for([], [], [], None, settings)})


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_the_address_of_redis_is_read_from_a_private_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    path = folder / "redis.url"
    path.write_text("redis://:s3cret@host:6379\n")
    path.chmod(0o600)
    if by == "variable":
        monkeypatch.setenv("WINDFALL_REDIS_URL", f"@{path}")
    assert load_settings(redis=f"@{path}" if by == "flag" else None).redis == "redis://:s3cret@host:6379"


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (b"redis://:s3cret@host", 0o644, "others can read it; run: chmod 600"),
        (b"", 0o600, "must contain one URL"),
        (b"redis://:s3cret@host\nmore", 0o600, "must contain one URL"),
        (b"\xff\xfe", 0o600, "is not UTF-8 text"),
        (None, 0o600, "cannot read .*: No such file"),
    ],
)
def test_a_file_that_holds_no_private_address_is_refused_without_its_words(
    folder: Path, content: bytes | None, mode: int, said: str
) -> None:
    path = folder / "redis.url"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(ConfigError, match=said) as caught:
        load_settings(redis=f"@{path}")
    assert "s3cret" not in str(caught.value)
