"""Markdown as far as tests need it: links, anchors, and the paths that a page names."""

import re
from collections import Counter
from pathlib import Path
from typing import Final

from tests.support.paths import ROOT

PAGES: Final = tuple(
    sorted(
        path
        for place in (
            ROOT.glob("*.md"),
            *((ROOT / top).rglob("*.md") for top in (".github", "deploy", "pipeline", "schemas", "tests")),
        )
        for path in place
        if "node_modules" not in path.parts
    )
)
"""All documents."""

_FENCE: Final = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (.+?)\s*$", re.MULTILINE)
_CODE: Final = re.compile(r"`([^`\n]+)`")
_FILE: Final = re.compile(r"[\w*-]+\.(?:py|sql|md|yml|xml|service|sh)")
TOPS: Final = ("deploy", "pipeline", "schemas", "tests", ".github", ".ci")


def name(page: Path) -> str:
    """Return a page's path below the top folder."""
    return page.relative_to(ROOT).as_posix()


def prose(text: str) -> str:
    """Return a page without its fenced blocks; line numbers stay."""
    return _FENCE.sub(lambda found: "\n" * found[0].count("\n"), text)


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures."""
    return _LINK.findall(prose(page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in _HEADING.findall(prose(page.read_text(encoding="utf-8"))):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading).lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def broken_links(page: Path) -> list[str]:
    """Return the links of a page that lead to no file, or to no heading of it."""
    broken = []
    for link in links(page):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    return broken


def missing_paths(page: Path) -> list[str]:
    """Return the files and folders that a page names in backticks and that do not exist.

    A word counts as a path if it begins with a top folder, or ends like a file of code or text. A path may be relative
    to the top, the page's own folder, `pipeline/` or `tests/`; a name without a folder may be anywhere.
    """
    words = _CODE.findall(prose(page.read_text(encoding="utf-8")))
    named = [word for word in words if not re.search(r"[^\w./*-]", word) and not word.startswith(("/", "."))]
    return [word for word in named if _is_path(word) and not _exists(word.rstrip("/"), page)]


def _is_path(word: str) -> bool:
    return ("/" in word and word.split("/", maxsplit=1)[0] in TOPS) or bool(_FILE.fullmatch(word.rpartition("/")[2]))


def _exists(path: str, page: Path) -> bool:
    if "/" not in path:
        return (ROOT / path).exists() or any(any((ROOT / top).rglob(path)) for top in TOPS)
    return any(any(base.glob(path)) for base in (ROOT, page.parent, ROOT / "pipeline", ROOT / "tests"))
