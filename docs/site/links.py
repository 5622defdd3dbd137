"""Links that hold in the repository hold in the site: docs/ is its root, and the README its first page.

A hook of MkDocs. Pages are written for a code host; a link is read as one between files of the repository, and turned
into one between pages.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ("CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/", "examples/")
"""What keeps its path in the site, besides docs/ (see pages.py)."""


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite the relative links of a page; those in code are left alone."""
    source = page.file.src_uri
    if source.startswith("api/"):
        return markdown
    here = source if source.startswith(GENERATED) else f"docs/{source}"
    parts = re.split(r"(^```.*?^```$|`[^`\n]+`(?!\]))", markdown, flags=re.M | re.S)
    return "".join(part if n % 2 else _rewritten(part, here, source) for n, part in enumerate(parts))


def _rewritten(text: str, here: str, source: str) -> str:
    def link(found: re.Match[str]) -> str:
        target, hash_, anchor = found[1].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return found[0]
        place = site_path(posixpath.normpath(posixpath.join(posixpath.dirname(here), target)))
        return f"]({posixpath.relpath(place, posixpath.dirname(source) or '.')}{hash_}{anchor})"

    return re.sub(r"\]\(([^)\s]+)\)", link, text)


def site_path(path: str) -> str:
    """Where a file of the repository is in the site.

    >>> [site_path(path) for path in ("docs/attacks.md", "README.md", "examples", "benchmarks")]
    ['attacks.md', 'index.md', 'examples/README.md', 'benchmarks/RESULTS.md']
    """
    if path in ("README.md", "benchmarks"):
        return "index.md" if path == "README.md" else "benchmarks/RESULTS.md"
    return f"{path}/README.md" if (ROOT / path).is_dir() else path.removeprefix("docs/")
