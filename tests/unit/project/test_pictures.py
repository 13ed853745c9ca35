"""The pictures of the documentation say what the present code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from pictures.draw import IMAGES, drawings, words

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["fleet.svg", "fleet-narrow.svg", "watch.svg"])
def test_the_pictures_are_of_the_present_code(name: str) -> None:
    there, now = (IMAGES / name).read_text(encoding="utf-8"), drawings()[name]
    assert words(there) == words(now), "draw them anew with make pictures"


def test_every_picture_is_shown_somewhere_and_asks_nobody_for_anything() -> None:
    pages = "".join(path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")])
    for picture in IMAGES.iterdir():
        assert f"images/{picture.name}" in pages
        assert "url(http" not in picture.read_text()
