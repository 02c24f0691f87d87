"""Download of hash-pinned files from a Maven repository, without mvn.

The repository is the mirror of Maven Central in the user's or the machine's Maven
settings, or Maven Central itself if they name no mirror.
"""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from devcluster.errors import LocalError

CENTRAL = "https://repo.maven.apache.org/maven2"
SETTINGS = (Path.home() / ".m2" / "settings.xml", Path("/etc/maven/settings.xml"))
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file: its coordinates and its SHA-256."""

    group: str
    name: str
    version: str
    kind: str
    sha256: str

    @classmethod
    def read(cls, line: str) -> Artifact:
        """Parse a line such as `group:name:version:jar sha256:0123…`."""
        coordinates, _, digest = line.partition(" sha256:")
        group, name, version, kind = coordinates.split(":")
        return cls(group, name, version, kind, digest)

    @property
    def file(self) -> str:
        """File name, also in the repository."""
        return f"{self.name}-{self.version}.{self.kind}"

    @property
    def path(self) -> str:
        """Path in a repository."""
        return f"{self.group.replace('.', '/')}/{self.name}/{self.version}/{self.file}"


def artifacts(listing: Path) -> Iterator[Artifact]:
    """Yield the artifacts listed in a file, one per line; lines that begin with # are comments."""
    for line in listing.read_text().splitlines():
        if line and not line.startswith("#"):
            yield Artifact.read(line)


def repository(settings: Iterable[Path] = SETTINGS) -> str:
    """Return the URL of the first mirror of Maven Central in `settings`, or of Maven Central itself."""
    for path in settings:
        if not path.is_file():
            continue
        for mirror in ET.parse(path).getroot().iterfind(".//{*}mirror"):
            of, url = mirror.findtext("{*}mirrorOf", ""), mirror.findtext("{*}url", "")
            if {"*", "central", "external:*"} & {word.strip() for word in of.split(",")}:
                return url.strip().rstrip("/")
    return CENTRAL


def fetch(listing: Path, folder: Path, settings: Iterable[Path] = SETTINGS) -> None:
    """Download the jars in `listing` into `folder/libs`, and unpack its zips into `folder`; see `repository`.

    Raises:
        LocalError: a file could not be downloaded, or its SHA-256 differs from the listing.
    """
    base, libs = repository(settings), folder / "libs"
    for artifact in artifacts(listing):
        libs.mkdir(exist_ok=True)
        file = libs / artifact.file
        _download(f"{base}/{artifact.path}", file, artifact.sha256)
        if artifact.kind == "zip":
            _extract(file, folder)
            file.unlink()


def _download(url: str, file: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response, file.open("wb") as target:
            while block := response.read(1 << 20):
                digest.update(block)
                target.write(block)
    except (urllib.error.URLError, OSError) as error:
        raise LocalError(f"{url} could not be downloaded: {error}. Run the same command again.") from error
    if digest.hexdigest() != sha256:
        raise LocalError(f"{url} is not the file that was pinned: its SHA-256 is {digest.hexdigest()}, not {sha256}.")


def _extract(archive: Path, folder: Path) -> None:
    """Unpack a zip with its recorded permissions, which the standard library ignores."""
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            target = Path(opened.extract(entry, folder))
            if mode := entry.external_attr >> 16 & 0o777:
                target.chmod(mode)
