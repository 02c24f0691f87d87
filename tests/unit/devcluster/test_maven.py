"""Artifacts from Maven are pinned, and come from the repository that this machine's Maven is configured to use."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from devcluster import maven, pinned_tools
from devcluster.errors import LocalError
from devcluster.maven import Artifact
from devcluster.pinned_tools import JavaTool

PINS = Path(maven.__file__).parent / "maven"
MIRROR = """<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0"><mirrors>
  <mirror><id>a</id><mirrorOf>external:http:*</mirrorOf><url>http://0.0.0.0/</url></mirror>
  <mirror><id>b</id><mirrorOf>central, other</mirrorOf><url> https://mirror.test/maven/ </url></mirror>
</mirrors></settings>"""


def test_artifact_path_follows_maven_layout() -> None:
    """An artifact's path follows the repository layout: group as folders, name, version, file."""
    artifact = Artifact.read(f"org.example.kit:tool:1.2:jar sha256:{'0' * 64}")
    assert artifact.path == "org/example/kit/tool/1.2/tool-1.2.jar"


def test_every_java_tool_file_is_pinned() -> None:
    """Each pin has four coordinates and a SHA-256, and the tool's own version is among them."""
    for tool in pinned_tools.TOOLS:
        if isinstance(tool, JavaTool):
            listed = list(maven.artifacts(PINS / f"{tool.name}.txt"))
            assert tool.version in {artifact.version for artifact in listed}
            assert all(len(bytes.fromhex(artifact.sha256)) == 32 for artifact in listed)


def test_central_mirror_from_settings_is_used(tmp_path: Path) -> None:
    """The first settings file that names a mirror of Central wins; without one it is Central itself."""
    settings = tmp_path / "settings.xml"
    settings.write_text(MIRROR)
    assert maven.repository([tmp_path / "missing.xml", settings]) == "https://mirror.test/maven"
    settings.write_text(MIRROR.replace("central", "elsewhere"))
    assert maven.repository([settings]) == maven.CENTRAL


def test_artifact_with_wrong_hash_is_rejected(tmp_path: Path) -> None:
    """A file with another hash than the pinned one is refused; the message names the file and both hashes."""
    repository = tmp_path / "org/example/tool/1/tool-1.jar"
    repository.parent.mkdir(parents=True)
    repository.write_bytes(b"swapped")
    settings = tmp_path / "settings.xml"
    settings.write_text(MIRROR.replace("https://mirror.test/maven/", tmp_path.as_uri()))
    listing = tmp_path / "tool.txt"
    listing.write_text(f"org.example:tool:1:jar sha256:{'0' * 64}\n")
    (tmp_path / "out").mkdir()
    with pytest.raises(LocalError, match=rf"tool-1\.jar is not .*{hashlib.sha256(b'swapped').hexdigest()}"):
        maven.fetch(listing, tmp_path / "out", [settings])
    listing.write_text(f"# swapped\norg.example:tool:1:jar sha256:{hashlib.sha256(b'swapped').hexdigest()}\n")
    maven.fetch(listing, tmp_path / "out", [settings])
    assert (tmp_path / "out/libs/tool-1.jar").read_bytes() == b"swapped"
