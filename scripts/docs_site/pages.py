"""The pages of the repository, their links and anchors, and the navigation that README's table gives.

Links are those of Markdown (CommonMark): inline ones and pictures, outside of code. Nothing is fetched: a link to
another site is not followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

ROOTS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "devcluster/README.md")
Navigation: TypeAlias = list[dict[str, "str | Navigation"]]

_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+?)\s*#*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a page to a file or an anchor of the repository."""

    page: Path
    text: str
    target: str
    is_picture: bool

    @property
    def file(self) -> Path:
        """The file that it leads to; for a mere anchor the page itself."""
        name = self.target.partition("#")[0]
        return (self.page.parent / name).resolve() if name else self.page

    @property
    def anchor(self) -> str:
        """The part after `#`; empty: the file as a whole."""
        return self.target.partition("#")[2]


def pages(root: Path) -> Iterator[Path]:
    """Yield the pages that readers are led to: those at the root, and all of docs."""
    yield from (root / name for name in ROOTS)
    yield from sorted((root / "docs").rglob("*.md"))


def prose(markdown: str) -> str:
    """Return a page without its code, in which a bracket is no link; lines stay where they are."""
    return _CODE.sub("", _FENCE.sub(lambda match: "\n" * match[0].count("\n"), markdown))


def links(page: Path) -> Iterator[Link]:
    """Yield the links of a page within the repository, in order."""
    for picture, text, target in _LINK.findall(_FENCE.sub("", page.read_text())):
        if not re.match(r"[a-z]+:", target):
            yield Link(page, text, target, is_picture=bool(picture))


def anchors(markdown: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site name them."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", markdown)):
        slug = slug_of(heading)
        number, unique = 0, slug
        while unique in found:
            number += 1
            unique = f"{slug}-{number}"
        found.add(unique)
    return found


def slug_of(heading: str) -> str:
    """Return GitHub's anchor of a heading: lower case, spaces as hyphens, no other signs."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


def navigation(root: Path) -> Navigation:
    """Return the navigation: README, then a section for each row of its table *Documentation*.

    The records of decisions, which README's table names by one link, are a section of their own.

    Raises:
        ValueError: README has no such table; a site without navigation would pass unnoticed.
    """
    _, _, section = (root / "README.md").read_text().partition("## Documentation\n")
    rows = re.findall(r"^\| ([^|]+?) \| (.*\]\(.*) \|$", section.partition("\n## ")[0], re.MULTILINE)
    if not rows:
        raise ValueError("README.md has no table under '## Documentation'")
    result: Navigation = [{"SomaBrain": "README.md"}]
    for topic, cells in rows:
        entries: Navigation = []
        for _, text, target in _LINK.findall(cells):
            if target == "docs/decisions/README.md":
                entries.append({_title(text): [{"All decisions": target}, *_records(root)]})
            else:
                entries.append({_title(text): target})
        result.append({_title(topic): entries})
    return result


def _records(root: Path) -> Iterator[dict[str, str | Navigation]]:
    for record in sorted((root / "docs" / "decisions").glob("[0-9]*.md")):
        heading = record.read_text().partition("\n")[0].removeprefix("# ")
        yield {heading: record.relative_to(root).as_posix()}


def _title(text: str) -> str:
    return text[:1].upper() + text[1:]
