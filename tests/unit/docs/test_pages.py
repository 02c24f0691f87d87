"""Links, pictures and commands of the pages are valid, and the site's menu lists every page."""

from __future__ import annotations

import importlib.util
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from docs_site.pages import anchors, links, navigation, pages
from somabrain_client.cli.main import _parser as client_parser
from somabrain_client.kubectl.main import _parser as plugin_parser
from somabrain_service.cli import _parser as service_parser

ROOT = Path(__file__).parents[3]
PAGES = list(pages(ROOT))
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
MOST_LINES_OF_README = 119
FILE = r"(?:^|python3? )((?:scripts|tests|kernel|bench|examples)/[\w./-]+\.(?:py|sh))\b"
"""A file that a command runs."""


def commands(page: Path) -> Iterator[str]:
    """Yield the command lines of a page: those of shell blocks, and code within sentences."""
    text = page.read_text()
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from (line.partition(" #")[0].strip() for line in block.splitlines())
    yield from re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def subcommands(parser: object) -> set[str]:
    return {
        name
        for action in parser._actions  # type: ignore[attr-defined]
        if isinstance(action.choices, dict)
        for name in action.choices
    }


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_target_and_anchor_exists(page: Path) -> None:
    """A link within the repository names an existing file, and its anchor an existing heading."""
    broken = []
    for link in links(page):
        if not link.file.is_file():
            broken.append(f"{link.target}: no such file")
        elif link.anchor and link.file.suffix == ".md" and link.anchor not in anchors(link.file.read_text()):
            broken.append(f"{link.target}: {link.file.name} has no such heading")
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_picture_is_valid_svg_with_alt_text(page: Path) -> None:
    """A picture is well-formed SVG with a size, and its link has an alternative text."""
    for link in (link for link in links(page) if link.is_picture):
        assert link.text, f"{link.target} has no description"
        drawing = ET.parse(link.file).getroot()
        assert drawing.tag.endswith("svg")
        assert drawing.get("viewBox")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_documented_command_exists(page: Path) -> None:
    """Make targets, modules, files that are run, and the subcommands of our programs exist."""
    targets = set(re.findall(r"^([a-z0-9-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)) | {".venv"}
    known_commands = {
        "somabrain-service": subcommands(service_parser()),
        "somabrain": subcommands(client_parser()),
        "kubectl sb": subcommands(plugin_parser()),
    }
    unknown = []
    for command in commands(page):
        if match := re.match(r"make ((?:(?:[a-z0-9.-]+)(?: |$))+)", command):
            unknown += [f"make {name}" for name in match[1].split() if name not in targets]
        for module in re.findall(r"python3? -m ([\w.]+)", command):
            if importlib.util.find_spec(module) is None:
                unknown.append(f"python -m {module}")
        for file in re.findall(
            r"(?:^|python3? )((?:scripts|tests|kernel|bench|examples)/[\w./-]+\.(?:py|sh))\b", command
        ):
            if not (ROOT / file).is_file():
                unknown.append(file)
        for program, names in known_commands.items():
            if match := re.match(rf"{program} ([a-z][a-z-]+)\b(?!=)", command):
                unknown += [] if match[1] in names else [f"{program} {match[1]}"]
    assert not unknown


def test_site_menu_lists_every_page() -> None:
    """The pages in README's table and the decision records are all the pages of the repository."""

    def listed(entries: object) -> Iterator[str]:
        for entry in entries:  # type: ignore[attr-defined]
            for target in entry.values():
                if isinstance(target, str):
                    yield target
                else:
                    yield from listed(target)

    menu = list(listed(navigation(ROOT)))
    assert sorted(menu) == sorted(set(menu))
    assert set(menu) == set(NAMES)


def test_readme_length_is_bounded() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= MOST_LINES_OF_README


def test_readme_pictures_are_generated_by_make_pictures() -> None:
    """Each picture of README is one that `make pictures` writes."""
    program = (ROOT / "tests" / "pictures" / "__main__.py").read_text()
    pictures = [link.file for link in links(ROOT / "README.md") if link.is_picture]
    assert pictures
    assert all(f'folder / "{file.name}"' in program for file in pictures)


def test_devcontainer_and_issue_forms_are_valid() -> None:
    """The files that GitHub and editors read are YAML or JSON of the form that they expect."""
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["postCreateCommand"] == "make .venv"
    forms = [yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")]
    assert [form for form in forms if "body" in form]
    for form in forms:
        for field in form.get("body", []):
            assert {"type", "id", "attributes"} <= set(field)
            assert field["attributes"]["label"]
