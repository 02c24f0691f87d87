"""The native cluster's files and flags agree with each other and stay in its own folder."""

import json
import tomllib
from pathlib import Path

from devcluster.native import cgroups, config
from devcluster.native.components import components
from devcluster.native.launch import CLIENTS
from devcluster.native.layout import DNS_SERVICE, SERVICES, Layout

LAYOUT = Layout(Path("/state/cluster"))
FLAGS = {component.name: component.argv for component in components(LAYOUT, Path("/bin"), "python3")}


def test_containerd_paths_are_isolated_from_host() -> None:
    """Our containerd shares no folder and no socket with one of the machine's own."""
    parsed = tomllib.loads(config.render_containerd(LAYOUT, "overlayfs"))
    assert parsed["root"].startswith("/state/cluster/")
    assert parsed["grpc"]["address"] == str(LAYOUT.containerd_socket)
    cri = parsed["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["restrict_oom_score_adj"] is True
    assert cri["cni"]["conf_dir"] == "/state/cluster/cni"


def test_kubelet_and_coredns_share_dns_address() -> None:
    """The kubelet gives pods the address of CoreDNS's Service."""
    kubelet = json.loads(config.render_kubelet(LAYOUT))
    manifest = (Path(cgroups.__file__).parents[1] / "manifests" / "coredns.yaml").read_text()
    assert kubelet["clusterDNS"] == [DNS_SERVICE]
    assert f"clusterIP: {DNS_SERVICE}\n" in manifest


def test_every_component_kubeconfig_is_issued() -> None:
    """Each kubeconfig in a component's flags is issued to a client; a missing one would only fail at run time."""
    kubeconfigs = {flag.split("=")[1] for argv in FLAGS.values() for flag in argv if "kubeconfig=" in flag}
    assert kubeconfigs == {str(LAYOUT.client_config(name)) for name in CLIENTS}


def test_api_server_and_controller_manager_share_service_cidr() -> None:
    """API server and controller manager have the same Service range, which is the one that is routed."""
    for name in ("kube-apiserver", "kube-controller-manager"):
        assert f"--service-cluster-ip-range={SERVICES}" in FLAGS[name]


def test_cgroup_is_created_in_every_hierarchy() -> None:
    """The cgroup is created in every hierarchy, as runc uses all of them on a hybrid machine."""
    version1, version2 = "cgroup /sys/fs/cgroup/pids cgroup rw\n", "cgroup2 /sys/fs/cgroup/unified cgroup2 rw\n"
    hybrid = version1 + version2 + "tmpfs /tmp tmpfs rw\n"
    assert cgroups.roots(hybrid) == [Path("/sys/fs/cgroup/pids/somabrain"), Path("/sys/fs/cgroup/unified/somabrain")]
    assert cgroups.roots("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n") == [Path("/sys/fs/cgroup/somabrain")]
