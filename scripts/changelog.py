"""Changelog by fragments: check them, and fold them into CHANGELOG.md at a release.

    python scripts/changelog.py check
    python scripts/changelog.py fold VERSION

A fragment is a file `changelog.d/WORDS.KIND.md` of one sentence or a few, for users: what they can do, see or must do
now. Two changes never touch the same line, so branches merge. towncrier does the same with three more packages, and
always writes a new section, where several of our changes belong to one version.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
KINDS: Mapping[str, str] = {
    "upgrade": "Before you upgrade",
    "new": "New",
    "changed": "Different",
    "faster": "Faster",
    "fixed": "Fixed",
    "security": "Security",
}
"""Heading of each kind, in the order of a version's section."""
LONGEST = 600
WIDTH = 120


def main(arguments: list[str]) -> int:
    """Run one command and return its exit status."""
    changelog, folder = ROOT / "CHANGELOG.md", ROOT / "changelog.d"
    fragments = {path.name: path.read_text() for path in sorted(folder.glob("*.md")) if path.name != "README.md"}
    faults = list(faults_of(fragments))
    match arguments:
        case _ if faults:
            print("\n".join(faults))
            return 1
        case ["check"]:
            print(f"changelog: {len(fragments)} fragments")
            return 0
        case ["fold", version]:
            changelog.write_text(fold(changelog.read_text(), version, fragments))
            for name in fragments:
                (folder / name).unlink()
            print(f"changelog: folded {len(fragments)} fragments into [{version}]")
            return 0
    print(__doc__, file=sys.stderr)
    return 2


def faults_of(fragments: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with fragments, given by file name, a line each."""
    for name, text in fragments.items():
        if not re.fullmatch(rf"[a-z0-9-]+\.({'|'.join(KINDS)})\.md", name):
            yield f"changelog.d/{name}: name it WORDS.KIND.md, where KIND is one of {', '.join(KINDS)}"
        body = text.strip()
        if not body or body[0] in "-*#" or "\n\n" in body:
            yield f"changelog.d/{name}: must be one paragraph of prose, without a list or heading"
        elif body[-1] not in ".)" or len(body) > LONGEST:
            yield f"changelog.d/{name}: must be sentences of at most {LONGEST} characters in all"


def fold(changelog: str, version: str, fragments: Mapping[str, str]) -> str:
    """Return a changelog with fragments in the section of a version, made above the others if it is missing."""
    head, *sections = re.split(r"^(?=## \[)", changelog, flags=re.MULTILINE)
    title = f"## [{version}]\n"
    if not any(section.startswith(title) for section in sections):
        sections.insert(0, title)
    return head + "".join(
        _joined(section, title, fragments) if section.startswith(title) else section for section in sections
    )


def _joined(section: str, title: str, fragments: Mapping[str, str]) -> str:
    """Return a version's section with fragments at the ends of the parts of their kinds, which are in KINDS' order."""
    _, *parts = re.split(r"^### ", section, flags=re.MULTILINE)
    bodies = {heading: body.strip() + "\n" for heading, _, body in (part.partition("\n") for part in parts)}
    for kind, heading in KINDS.items():
        for name, text in fragments.items():
            if name.split(".")[1] == kind:
                bodies[heading] = bodies.get(heading, "") + _entry(text)
    ordered = [heading for heading in (*KINDS.values(), *bodies) if heading in bodies]
    return title + "\n" + "".join(f"### {heading}\n{bodies[heading]}\n" for heading in dict.fromkeys(ordered))


def _entry(text: str) -> str:
    """Return a list item, wrapped."""
    lines: list[str] = []
    line = "-"
    for word in text.split():
        if len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = " "
        line = f"{line} {word}"
    return "\n".join([*lines, line]) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
