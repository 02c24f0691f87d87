"""Build the documentation site.

    python -m docs_site FOLDER

Runs in the environment of requirements/docs.txt (`make docs-site`). A link to a page or heading that does not exist is
an error. Mermaid, which draws the diagrams, is a pinned jar of Maven Central that becomes part of the site: a reader's
browser asks no other server.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from devcluster import maven
from docs_site.pages import links, navigation, pages

ROOT = Path(__file__).parents[2]
MERMAID = Path(__file__).with_name("mermaid.txt")
SCRIPT = "assets/mermaid.min.js"
STYLE = "assets/site.css"
TAGS = {
    "SUPERFENCES": "!!python/name:pymdownx.superfences.fence_code_format ",
    "SLUGIFY": "!!python/object/apply:pymdownx.slugs.slugify {kwds: {case: lower}}",
}
"""Functions that the configuration names by tags of YAML, which JSON has not."""


def main(site: Path) -> None:
    """Copy the pages and what they link to, and let mkdocs build them."""
    with tempfile.TemporaryDirectory(prefix="somabrain-docs-site-") as folder:
        sources = Path(folder) / "sources"
        _copy(sources)
        _mermaid(Path(folder), sources / SCRIPT)
        shutil.copy(Path(__file__).with_name("site.css"), sources / STYLE)
        config = Path(folder) / "mkdocs.yml"
        config.write_text(_yaml(_config(sources, site)))
        argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config)]
        built = subprocess.run(argv, check=False, capture_output=True, text=True)  # --quiet would not count warnings
        if built.returncode:
            sys.exit(f"docs-site: {built.stderr.strip()}")
    print(f"docs-site: open {site / 'index.html'}")


def _yaml(config: dict[str, object]) -> str:
    """Return a configuration as YAML, which JSON is but for the tags that name Python's functions."""
    text = json.dumps(config)
    for placeholder, tag in TAGS.items():
        text = text.replace(f'"{placeholder}"', tag)
    return text


def _copy(sources: Path) -> None:
    """Copy every page, and every file that a page links to, to where it is in the repository."""
    for page in pages(ROOT):
        for file in (page, *(link.file for link in links(page))):
            target = sources / file.relative_to(ROOT)
            if file.is_file() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)


def _mermaid(folder: Path, target: Path) -> None:
    maven.fetch(MERMAID, folder)
    (jar,) = (folder / "libs").iterdir()
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(jar) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith("/dist/mermaid.min.js"))
        target.write_bytes(opened.read(name))


def _config(sources: Path, site: Path) -> dict[str, object]:
    return {
        "site_name": "SomaBrain",
        "docs_dir": str(sources),
        "site_dir": str(site),
        "use_directory_urls": False,  # works from a folder, without a web server
        "nav": navigation(ROOT),
        "theme": {
            "name": "material",
            "font": False,  # fonts would be asked from another server
            "features": ["navigation.top", "content.code.copy", "search.highlight"],
            "palette": [
                {"media": "(prefers-color-scheme: light)", "scheme": "default", "primary": "teal"},
                {"media": "(prefers-color-scheme: dark)", "scheme": "slate", "primary": "teal"},
            ],
        },
        "extra_javascript": [SCRIPT],
        "extra_css": [STYLE],
        "plugins": ["search", "offline"],  # search works from a folder, too
        "markdown_extensions": [
            "tables",
            {"toc": {"permalink": True, "slugify": "SLUGIFY"}},
            {"pymdownx.highlight": {}},
            {
                "pymdownx.superfences": {
                    "custom_fences": [{"name": "mermaid", "class": "mermaid", "format": "SUPERFENCES"}]
                }
            },
        ],
        "validation": {
            "nav": {"omitted_files": "info", "not_found": "warn", "absolute_links": "warn"},
            "links": {"not_found": "warn", "anchors": "warn", "absolute_links": "warn", "unrecognized_links": "warn"},
        },
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
