"""What the site has beyond docs/: the pages that live elsewhere in the repository, and links that leave docs/.

Links in the sources are paths within the repository, so that they work on a forge and in an editor. Here each becomes a
link within the site where its target is a page of it, and else a link to the file in the repository.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[2]

#: Pages of the site whose sources stand outside docs/.
ELSEWHERE: Final = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": ".github/CONTRIBUTING.md",
    "security.md": ".github/SECURITY.md",
    "code-of-conduct.md": ".github/CODE_OF_CONDUCT.md",
}

_LINK: Final = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from elsewhere."""
    for page, source in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links of the site."""
    here = page.file.src_uri
    source = ELSEWHERE.get(here, f"docs/{here}")

    def target(found: re.Match[str]) -> str:
        before, link, anchor, after = found.groups(default="")
        if re.match(r"[a-z]+:", link):
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        if not (ROOT / path).exists():
            raise PluginError(f"{source}: {link} does not exist")
        return before + _address(path, here, config, files) + anchor + after

    return _LINK.sub(target, markdown)


def _address(path: str, here: str, config: MkDocsConfig, files: Files) -> str:
    pages = {source: page for page, source in ELSEWHERE.items()}
    page = pages.get(path, path.removeprefix("docs/"))
    if (path in pages or path.startswith("docs/")) and files.get_file_from_path(page):
        return posixpath.relpath(page, posixpath.dirname(here) or ".")
    kind = "tree" if (ROOT / path).is_dir() else "blob"
    return f"{config.repo_url}/{kind}/main/{path}"
