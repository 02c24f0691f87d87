"""Configuration files of the components, as text: pure functions of the layout."""

from __future__ import annotations

import json

from devcluster.native.layout import DNS_SERVICE, NODE_PODS, Layout

CNI_FOLDER = "/usr/lib/cni"
PAUSE_IMAGE = "registry.k8s.io/pause:3.10"


def render_containerd(layout: Layout, snapshotter: str) -> str:
    """Return containerd's configuration, which keeps its data in the cluster's folder."""
    root, cri = layout.root, 'plugins."io.containerd.grpc.v1.cri"'
    return f"""\
version = 2
root = "{root}/containerd"
state = "/run/somabrain-containerd"
[grpc]
  address = "{layout.containerd_socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/containerd/opt"
[{cri}]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE runc cannot lower oom_score_adj, and every sandbox would die.
  restrict_oom_score_adj = true
  disable_apparmor = true # its profile would stay in the kernel
  enable_tls_streaming = false
  netns_mounts_under_state_dir = true
  max_concurrent_downloads = 10
  [{cri}.containerd]
    snapshotter = "{snapshotter}"
  [{cri}.cni]
    bin_dir = "{CNI_FOLDER}"
    conf_dir = "{root}/cni"
"""


def render_cni(layout: Layout) -> str:
    """Return the CNI configuration: one bridge, with addresses from the node's range."""
    ipam = {
        "type": "host-local",
        "dataDir": f"{layout.root}/ipam",
        "ranges": [[{"subnet": NODE_PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True, "ipam": ipam}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": "somabrain", "plugins": [bridge, portmap]}, indent=1)


def render_kubelet(layout: Layout) -> str:
    """Return the kubelet's configuration (JSON, which is YAML)."""
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{layout.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{layout.pki}/kubelet-serving.crt",
        "tlsPrivateKeyFile": f"{layout.pki}/kubelet-serving.key",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": "/somabrain",
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": f"{layout.root}/resolv.conf",
        "failSwapOn": False,
        # Do not evict because of a laptop's nearly full disk.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "maxPods": 250,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "nodeStatusUpdateFrequency": "5s",
        "podLogsDir": f"{layout.root}/pod-logs",
        "volumePluginDir": f"{layout.root}/kubelet/volume-plugins",
    }
    return json.dumps(config, indent=1)
