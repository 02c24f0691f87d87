"""Format of durations, progress, package mirror, build arguments, and choice of a provider."""

from pathlib import Path

import pytest

from devcluster.environment import LocalPaths
from devcluster.errors import LocalError
from devcluster.images.base import mirror_of
from devcluster.images.buildah import build_arguments
from devcluster.progress import Progress, format_duration
from devcluster.provider import choose
from devcluster.tools import Toolchain


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (42.4, "42 s"), (59.7, "1 min 00 s"), (242.0, "4 min 02 s")],
)
def test_format_duration_units(seconds: float, text: str) -> None:
    """Durations are shown with tenths below ten seconds, then in seconds, then in minutes."""
    assert format_duration(seconds) == text


def test_step_reports_previous_duration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first run of a step has no estimate; later ones show the last duration, even in another process."""
    for _ in range(2):
        with Progress(tmp_path / "durations.json").step("Think"):
            pass
    first, _, second, _ = capsys.readouterr().err.splitlines()
    assert first == "→ Think"
    assert second == "→ Think (0.0 s last time)"


def test_failed_step_duration_is_not_stored(tmp_path: Path) -> None:
    """The duration of a failed step is not stored."""
    memory = tmp_path / "durations.json"
    with pytest.raises(LocalError), Progress(memory).step("Fail"):
        raise LocalError("expected failure")
    assert not memory.exists()


def test_mirror_of_selects_main_release_repository() -> None:
    """The mirror is the release's main one, not that of updates, of security or of another vendor."""
    rows = "http://vendor.test/ bookworm Vendor\nhttp://mirror.test/security bookworm-security Debian\n"
    assert mirror_of(rows, "bookworm") is None
    assert mirror_of(rows + "http://mirror.test/debian bookworm Debian\n", "bookworm") == "http://mirror.test/debian"


def test_build_arguments_include_host_index_and_certificates() -> None:
    """A build gets the host's package index, under pip's and uv's names for it, and its certificates."""
    arguments = build_arguments({"PIP_INDEX_URL": "https://index.test/simple"}, bundle=True)
    assert arguments["UV_DEFAULT_INDEX"] == arguments["PIP_INDEX_URL"]
    assert arguments["SSL_CERT_FILE"] == arguments["PIP_CERT"]
    assert build_arguments({}, bundle=False) == {}


def test_unknown_provider_error_lists_providers(tmp_path: Path) -> None:
    """The error about an unknown provider (CLUSTER=minikube) lists the supported ones."""
    toolchain = Toolchain(LocalPaths(tmp_path, tmp_path, tmp_path), Progress(tmp_path / "d"))
    with pytest.raises(LocalError, match="CLUSTER=minikube is unknown: use kind or native"):
        choose("minikube", toolchain)
