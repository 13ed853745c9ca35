"""Which settings files are believed, and where a file may send a key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from windfall.cli.models import providers_of
from windfall.config import trust
from windfall.config.env_file import read_env_file
from windfall.config.settings import load_settings
from windfall.config.trust import read_believed
from windfall.errors import ConfigError


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file in a working folder of the test's own."""
    for name in ("WINDFALL_TRUSTED_CONFIG", "WINDFALL_KEY_ORIGINS", "WINDFALL_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    work = tmp_path / "work"
    work.mkdir(mode=0o755)
    monkeypatch.chdir(work)
    path = work / "windfall.toml"
    path.write_text('redis = "redis://host"\n')
    path.chmod(0o644)
    return path


def be_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_believed", lambda: frozenset({os.geteuid() + 1}))


def test_a_file_of_this_user_is_read_and_named(file: Path) -> None:
    settings = load_settings()
    assert (settings.redis, settings.source, settings.folder_decides) == ("redis://host", Path("windfall.toml"), True)
    assert not load_settings(redis="redis://flag").folder_decides
    assert not load_settings(config=file).folder_decides


@pytest.mark.parametrize("given", [None, Path("windfall.toml")])
def test_a_file_of_another_user_is_not_read(monkeypatch: pytest.MonkeyPatch, given: Path | None) -> None:
    be_another_user(monkeypatch)
    with pytest.raises(ConfigError, match=r"windfall\.toml was not read, because it belongs to user .*if you trust"):
        load_settings(config=given)


def test_the_keys_of_another_user_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "worker.env"
    path.touch(mode=0o600)
    be_another_user(monkeypatch)
    with pytest.raises(ConfigError, match="belongs to user"):
        read_env_file(path)


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_can_write_is_not_read(file: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    monkeypatch.setattr(trust, "_is_private", lambda _: False)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=r"is writable by (others|its group); run: chmod go-w windfall\.toml"):
        load_settings()


def test_the_group_that_is_this_users_alone_is_no_other(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_is_private", lambda _: True)
    file.chmod(0o664)
    assert load_settings().redis == "redis://host"


@pytest.mark.parametrize("above", [0, 1])
def test_a_folder_that_others_can_write_makes_the_file_theirs(file: Path, above: int) -> None:
    folder = file.parents[above]
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match=rf"its folder {folder} is writable by others; run: chmod go-w"):
        load_settings()
    folder.chmod(0o1777)  # as /tmp: nobody can rename what is another's
    assert load_settings().redis == "redis://host"
    folder.chmod(0o755)


def test_a_link_is_judged_by_where_it_stands_and_where_it_leads(file: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir(mode=0o755)
    file.rename(real / "windfall.toml")
    file.symlink_to(real / "windfall.toml")
    assert load_settings().redis == "redis://host"
    for folder in (real, file.parent):
        folder.chmod(0o777)
        with pytest.raises(ConfigError, match=f"its folder {folder} is writable by others"):
            load_settings()
        folder.chmod(0o755)


def test_the_environment_can_vouch_for_one_file(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.chmod(0o666)
    monkeypatch.setenv("WINDFALL_TRUSTED_CONFIG", str(tmp_path / "another.toml"))
    with pytest.raises(ConfigError, match="was not read"):
        load_settings()
    monkeypatch.setenv("WINDFALL_TRUSTED_CONFIG", str(file))
    assert load_settings().redis == "redis://host"


def test_a_pipe_blocks_nobody_and_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="pipe is not a regular file"):
        read_believed(tmp_path / "pipe")
    with pytest.raises(ConfigError, match=r"settings file .* not found"):
        load_settings(config=tmp_path / "pipe")


def test_a_file_larger_than_any_settings_is_not_read_whole(file: Path) -> None:
    file.write_text("#" * (trust.LARGEST + 1))
    with pytest.raises(ConfigError, match=r"windfall\.toml is larger than 1 MiB"):
        load_settings()


@pytest.mark.parametrize("text", ["x = " + "[" * 9000, "x = " + "{a=" * 9000])
def test_a_file_that_is_nested_without_end_is_told_of(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load_settings()


MOVED = '[providers.openai]\nprotocol = "openai"\nbase_url = "{}"\n'
OWN = '[providers.mine]\nprotocol = "openai"\nbase_url = "{}"\napi_key_env = "{}"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            MOVED.format("https://evil.example/v1"),
            "would send OPENAI_API_KEY, the key of https://api.openai.com, to http",
        ),
        (MOVED.format("http://api.openai.com/v1"), "the key of https://api.openai.com, to http://api.openai.com"),
        (MOVED.format("https://api.openai.com:8443/v1"), "to https://api.openai.com:8443"),
        (MOVED.format("http://127.0.0.1:1/v1"), "to http://127.0.0.1:1"),
        (MOVED.format("https://evil.example/v1") + 'api_key_env = "OTHER_KEY"\n', "would send OTHER_KEY"),
        (OWN.format("https://evil.example/v1", "ANTHROPIC_API_KEY"), "the key of https://api.anthropic.com, to https"),
        (OWN.format("http://mac2.local:8080/v1", "MINE"), "MINE to http://mac2.local:8080 over plain HTTP"),
        (OWN.format("http://127.0.0.1.evil.example/v1", "MINE"), "over plain HTTP"),
        (OWN.format("https://a:notaport/v1", "MINE"), "port"),
    ],
)
def test_a_file_cannot_send_a_key_elsewhere(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        providers_of(load_settings())


@pytest.mark.parametrize(
    "text",
    [
        MOVED.format("https://API.openai.com:443/v2"),
        "[providers.openai]\nmax_retries = 7\n",
        OWN.format("http://127.0.0.1:1/v1", "MINE"),
        OWN.format("http://[::1]:1/v1", "MINE"),
        OWN.format("http://localhost:1/v1", "MINE"),
        OWN.format("https://gateway.example/v1", "MINE"),
        '[providers.mac2]\nprotocol = "openai"\nbase_url = "http://mac2.local:8080/v1"\n',
    ],
)
def test_what_sends_no_key_elsewhere_is_taken(file: Path, text: str) -> None:
    file.write_text(text)
    assert providers_of(load_settings())


def test_the_environment_can_name_further_origins(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(MOVED.format("http://gateway.corp:8080/v1"))
    monkeypatch.setenv("WINDFALL_KEY_ORIGINS", "https://other.example http://gateway.corp:8080")
    assert providers_of(load_settings())["openai"].base_url == "http://gateway.corp:8080/v1"
    monkeypatch.setenv("WINDFALL_KEY_ORIGINS", "http://gateway.corp")
    with pytest.raises(ConfigError, match=r"WINDFALL_KEY_ORIGINS=http://gateway\.corp:8080"):
        providers_of(load_settings())
