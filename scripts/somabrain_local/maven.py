"""Files from a Maven repository, each pinned by its hash: no mvn is needed.

The repository is the one that the user's or the machine's Maven settings name as
a mirror of Maven Central, and Maven Central itself where they name none.
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

from somabrain_local.errors import LocalError

CENTRAL = "https://repo.maven.apache.org/maven2"
SETTINGS = (Path.home() / ".m2" / "settings.xml", Path("/etc/maven/settings.xml"))
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file: its coordinates, and what it must be."""

    group: str
    name: str
    version: str
    kind: str
    sha256: str

    @classmethod
    def read(cls, line: str) -> Artifact:
        """Return what a line such as `group:name:version:jar sha256:0123…` says."""
        coordinates, _, digest = line.partition(" sha256:")
        group, name, version, kind = coordinates.split(":")
        return cls(group, name, version, kind, digest)

    @property
    def file(self) -> str:
        """Its file name, also in the repository."""
        return f"{self.name}-{self.version}.{self.kind}"

    @property
    def path(self) -> str:
        """Where it is in a repository."""
        return f"{self.group.replace('.', '/')}/{self.name}/{self.version}/{self.file}"


def artifacts(listing: Path) -> Iterator[Artifact]:
    """Yield the artifacts that a file lists, one a line; lines that begin with # are comments."""
    for line in listing.read_text().splitlines():
        if line and not line.startswith("#"):
            yield Artifact.read(line)


def repository(settings: Iterable[Path] = SETTINGS) -> str:
    """Return the address of the first mirror of Central in `settings`, or of Central itself."""
    for path in settings:
        if not path.is_file():
            continue
        for mirror in ET.parse(path).getroot().iterfind(".//{*}mirror"):
            of, url = mirror.findtext("{*}mirrorOf", ""), mirror.findtext("{*}url", "")
            if {"*", "central", "external:*"} & {word.strip() for word in of.split(",")}:
                return url.strip().rstrip("/")
    return CENTRAL


def fetch(listing: Path, folder: Path) -> None:
    """Put the jars that `listing` lists into `folder/libs`, and what its zips hold into `folder`.

    Raises:
        LocalError: one could not be had, or is not what the listing says.
    """
    base, libs = repository(), folder / "libs"
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
    """Unpack a zip with the permissions it records, which the standard library forgets."""
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            target = Path(opened.extract(entry, folder))
            if mode := entry.external_attr >> 16 & 0o777:
                target.chmod(mode)
