"""Our own writes come back as events; they say nothing new and must not wake their key."""

from __future__ import annotations

from somabrain_operator.tree import Json, text


class Echoes:
    """The version that our last write to each object made."""

    def __init__(self) -> None:
        """Start with none."""
        self._versions: dict[str, str] = {}

    def expect(self, written: Json) -> None:
        """Remember the version of an object as a write returned it."""
        if uid := text(written, "metadata", "uid"):
            self._versions[uid] = text(written, "metadata", "resourceVersion")

    def forget(self, uid: str) -> None:
        """Expect no more of an object that is gone."""
        self._versions.pop(uid, None)

    def is_echo(self, uid: str, version: str) -> bool:
        """Return whether this version of an object is the one that our last write made."""
        return self._versions.get(uid) == version
