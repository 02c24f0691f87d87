"""Make the archives of images, each only when what it is made of has changed."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from somabrain_local import debian, shell, specs
from somabrain_local.images.archive import Archive, write_single_binary
from somabrain_local.images.base import ensure_base
from somabrain_local.images.buildah import Buildah
from somabrain_local.images.inputs import copied_paths, fingerprint
from somabrain_local.images.table import BinaryImage, DockerfileImage, Image
from somabrain_local.tools import Workshop

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Factory:
    """Keeps one archive an image in the cache."""

    workshop: Workshop

    def ensure(self, images: Iterable[Image]) -> list[Archive]:
        """Return the archives of `images`, each made first if it is missing or out of date."""
        return [self._archive(image) for image in images]

    def _archive(self, image: Image) -> Archive:
        slug = image.name.rpartition("/")[2].replace(":", "-")
        folder = self.workshop.places.cache / "images"
        folder.mkdir(parents=True, exist_ok=True)
        with shell.locked(self.workshop.places.cache / "locks" / f"image-{slug}"):
            path = folder / f"{slug}@{self._fingerprint(image)}.tar"
            if not path.exists():
                draft = folder / f".{path.name}"
                draft.unlink(missing_ok=True)
                self._make(image, draft)
                for outdated in folder.glob(f"{slug}@*.tar"):
                    outdated.unlink()
                draft.rename(path)
        return Archive.read(image.name, path)

    def _fingerprint(self, image: Image) -> str:
        places = self.workshop.places
        if isinstance(image, BinaryImage):
            made_by = Path(__file__).with_name("archive.py").read_text()
            return fingerprint(places.checkout, [], self.workshop.name(specs.find(image.tool)), made_by)
        dockerfile = (places.checkout / image.dockerfile).read_text()
        if image.context:
            made_of = [self.workshop.name(specs.find(tool)) for tool in (image.context, *_java(image))]
            return fingerprint(places.checkout, [], dockerfile, *made_of)
        return fingerprint(places.checkout, copied_paths(dockerfile), dockerfile, image.version)

    def _make(self, image: Image, draft: Path) -> None:
        places, progress = self.workshop.places, self.workshop.progress
        if isinstance(image, BinaryImage):
            binary = self.workshop.folder(specs.find(image.tool)) / image.tool
            machine = platform.machine()
            write_single_binary(draft, image.name, binary, ARCHITECTURES.get(machine, machine))
            return
        debian.ensure(debian.IMAGES, places, progress)
        buildah = Buildah(places)
        ensure_base(buildah, progress)
        context = self.workshop.folder(specs.find(image.context)) if image.context else places.checkout
        with progress.step(f"Build the image {image.name}"):
            more = {name: self.workshop.folder(specs.find(name)) for name in _java(image)}
            buildah.build(image.name, places.checkout / image.dockerfile, context, image.version, more)
            buildah.export(image.name, draft)


def _java(image: DockerfileImage) -> tuple[str, ...]:
    return (specs.JAVA.name,) if image.java else ()
