"""What is written for people holds: links lead somewhere, and what pages tell to type is there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import windfall
from windfall.runtime.extras import DISTRIBUTION

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")])
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text()


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def text_of(page: Path) -> str:
    """A page without what stands between its code fences."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that a forge gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        found = re.findall(r"\]\(([^)\s]+)\)", text_of(page))
        yield from ((page, link) for link in found if not re.match(r"[a-z]+:", link))


def test_every_relative_link_leads_to_a_file_and_every_anchor_to_a_heading() -> None:
    dead = []
    for page, link in links():
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(f"{page.relative_to(ROOT)}: {link}")
    assert dead == []
    assert len(list(links())) > 40


def texts() -> Iterator[tuple[Path, str]]:
    """Everything that tells people what to install."""
    code = [path for folder in ("producer", "worker") for path in (ROOT / folder).rglob("*.py")]
    others = [ROOT / name for name in ("Makefile", "Dockerfile", "pyproject.toml")]
    flows = (ROOT / ".github" / "workflows").glob("*.yml")
    yield from ((path, path.read_text()) for path in [*PAGES, *code, *others, *flows])


def test_what_people_are_told_to_install_is_this_project_with_an_extra_that_it_has(pyproject: dict[str, Any]) -> None:
    assert pyproject["project"]["name"] == DISTRIBUTION
    extras = set(pyproject["project"]["optional-dependencies"])
    advised = [
        (path.name, name, extra)
        for path, text in texts()
        for name, several in re.findall(r"(?<![\w/-])(windfall[\w-]*|\.)\[([a-z, ]+)\]", text)
        for extra in re.split(", *", several)
    ]
    assert {"worker", "cloud", "otel"} <= {extra for _, _, extra in advised}
    assert [each for each in advised if each[1] not in {DISTRIBUTION, "."} or each[2] not in extras] == []


def test_advice_that_is_put_together_names_extras_that_there_are(pyproject: dict[str, Any]) -> None:
    extras = set(pyproject["project"]["optional-dependencies"])
    named = {extra for _, text in texts() for extra in re.findall(r"how_to_install\(['\"](\w+)['\"]\)", text)}
    assert named
    assert named <= extras


def test_every_make_target_that_a_page_names_is_one() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set()
    for page in PAGES:
        # In code alone: prose makes other things.
        code = re.findall(r"`([^`]+)`", page.read_text()) + re.findall(r"^\$ (.+)$", page.read_text(), re.MULTILINE)
        for command in (each for each in code if each.startswith("make ")):
            words = re.sub(r"#.*", "", command).split()[1:]
            named |= {word for word in words if re.fullmatch("[a-z]+", word)}
    assert {"unit", "test", "check", "soak", "docs", "demo"} <= named <= targets


def test_every_target_stands_in_the_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    explained = set(re.findall(r"echo 'make (\w+) ", makefile))
    assert explained == set(phony.split()) - {"help", "redis"}


def test_the_tests_and_folders_that_contributing_names_exist() -> None:
    named = re.findall(r"(?:tests|docs|producer)/[\w./-]+", CONTRIBUTING)
    assert named
    assert [path for path in named if not (ROOT / path.rstrip(".")).exists()] == []


def test_the_reference_shows_every_public_name() -> None:
    shown = re.findall(r"^::: windfall\.([A-Z]\w+|map|run)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert sorted(shown) == windfall.__all__


def test_the_default_user_of_redis_is_disabled_only_once_there_is_an_administrator() -> None:
    lines = (ROOT / "docs" / "operations.md").read_text().splitlines()
    (disabled,) = [number for number, line in enumerate(lines) if line == "ACL SETUSER default off"]
    assert any(re.fullmatch(r"ACL SETUSER \w+ on >\S+ ~\* &\* \+@all", line) for line in lines[:disabled])


def test_the_pictures_are_said_to_be_drawn_from_made_up_numbers() -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "operations.md"):
        after = page.read_text().split("images/fleet")[1].split("```")[0]
        assert "illustration" in after
        assert "made up" in after.replace("made-up", "made up")


def test_the_site_and_the_package_name_one_repository(pyproject: dict[str, Any]) -> None:
    site = (ROOT / "docs" / "site" / "mkdocs.yml").read_text()
    (repository,) = re.findall(r"^repo_url: (\S+)$", site, re.MULTILINE)
    urls = pyproject["project"]["urls"]
    assert urls["Source"] == repository
    assert all(url.startswith(repository) for url in urls.values())


def test_no_diagram_has_a_semicolon_which_would_begin_a_new_statement() -> None:
    diagrams = [each for page in PAGES for each in re.findall(r"```mermaid\n(.*?)```", page.read_text(), re.DOTALL)]
    assert diagrams
    assert [line for diagram in diagrams for line in diagram.splitlines() if ";" in line] == []


def test_decisions_are_numbered_without_a_gap_and_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    records = sorted(path.name for path in folder.glob("0*.md"))
    assert [int(name[:4]) for name in records] == list(range(1, len(records) + 1))
    for name in records:
        text = (folder / name).read_text()
        assert text.startswith(f"# {int(name[:4])}. ")
        assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Consequences"))
        assert f"]({name})" in (folder / "README.md").read_text()


def test_before_a_commit_the_same_is_run_as_by_make_check() -> None:
    hooks = yaml.safe_load((ROOT / ".github" / "pre-commit-config.yaml").read_text())  # type: ignore[no-untyped-call]
    (repository,) = hooks["repos"]
    assert repository["repo"] == "local"
    entries = " ".join(hook["entry"] for hook in repository["hooks"])
    recipe = (ROOT / "Makefile").read_text().split("\ncheck:")[1].split("\n\n")[0]
    for command in re.findall(r"\$\(BIN\)/(\w+ \S+)", recipe):
        assert f".venv/bin/{command}" in entries


def test_the_workflow_tests_each_python_that_the_package_claims(pyproject: dict[str, Any]) -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())["jobs"]  # type: ignore[no-untyped-call]
    prefix = "Programming Language :: Python :: "
    claimed = [each.removeprefix(prefix) for each in pyproject["project"]["classifiers"] if each.startswith(prefix)]
    assert jobs["linux"]["strategy"]["matrix"]["python"] == claimed
