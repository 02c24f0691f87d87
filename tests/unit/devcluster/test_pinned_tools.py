"""Every tool is pinned, found by its name or its binary's, and rebuilt only when it changes."""

from dataclasses import replace
from pathlib import Path

import pytest

from devcluster import pinned_tools
from devcluster.pinned_tools import GoTool


def test_no_two_tools_provide_same_binary() -> None:
    """No two tools provide the same binary: each would replace the other's link."""
    binaries = [binary for tool in pinned_tools.TOOLS for binary in tool.binaries]
    assert len(binaries) == len(set(binaries))


def test_find_tool_by_binary_name() -> None:
    """`kubelet` finds the tool for node and control plane; `kubectl` and `helm` have tools of their own."""
    assert pinned_tools.find("kubelet").name == "kubernetes"
    assert pinned_tools.find("kubectl").binaries == ("kubectl",)
    assert pinned_tools.find("helm").binaries == ("helm",)


def test_unknown_tool_error_lists_tools() -> None:
    """The error about an unknown tool lists the pinned ones."""
    with pytest.raises(KeyError, match="no tool hlem; there are helm, opa"):
        pinned_tools.find("hlem")


def test_go_modules_with_dependencies_have_committed_go_sum() -> None:
    """A module of ours with dependencies has a committed go.sum and requires the version of the table."""
    modules = Path(__file__).parents[3] / "devcluster" / "go"
    for tool in pinned_tools.TOOLS:
        if (
            isinstance(tool, GoTool)
            and tool.module
            and "require" in (text := (modules / tool.module / "go.mod").read_text())
        ):
            assert f" {tool.version}\n" in text
            assert (modules / tool.module / "go.sum").stat().st_size > 0


def test_tool_identity_depends_on_version_flags_and_inputs(tmp_path: Path) -> None:
    """Another version, flag or go.sum gives another folder; the same inputs give the same one."""
    (tmp_path / "go.sum").write_text("one")
    etcd, inputs = pinned_tools.find("etcd"), [tmp_path / "go.sum"]
    assert isinstance(etcd, GoTool)
    first = pinned_tools.identity(etcd, inputs)
    assert pinned_tools.identity(etcd, inputs) == first
    assert pinned_tools.identity(replace(etcd, version="v0"), inputs) != first
    assert pinned_tools.identity(replace(etcd, variables=("main.x=1",)), inputs) != first
    (tmp_path / "go.sum").write_text("two")
    assert pinned_tools.identity(etcd, inputs) != first
