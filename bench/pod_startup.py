"""Time from creation to Ready of pods, measured by a watch, because a pod's own timestamps have whole seconds."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from examples.kubectl import CommandFailed, Kubectl

TIMEOUT_S = 180
JSONPATH = '{.metadata.uid} {.status.conditions[?(@.type=="Ready")].status}{"\\n"}'


@dataclass(frozen=True, slots=True)
class Pods:
    """Single pod of a Deployment, and its successors."""

    kubectl: Kubectl
    namespace: str
    selector: str

    def start(self) -> float:
        """Delete the pod, and return the seconds from the creation of its successor until that is Ready.

        Raises:
            CommandFailed: it was not Ready within `TIMEOUT_S`.
        """
        with self._watch() as lines:
            old = next(lines).split()[0]
            self.kubectl("delete", "pod", "-n", self.namespace, "-l", self.selector, "--wait=false")
            created: dict[str, float] = {}
            for line in lines:
                uid, *ready = line.split()
                if uid != old:
                    created.setdefault(uid, time.monotonic())
                    if ready == ["True"]:
                        return time.monotonic() - created[uid]
        raise CommandFailed(f"No pod of {self.selector} in {self.namespace} was Ready within {TIMEOUT_S} s.")

    def settle(self) -> None:
        """Wait until the deleted pod has ended, so that the next start is the only activity on the node.

        Raises:
            CommandFailed: it had not ended within `TIMEOUT_S`.
        """
        deadline = time.monotonic() + TIMEOUT_S
        while len(self.kubectl.get(self.namespace, "pods", "-l", self.selector)["items"]) != 1:
            if time.monotonic() > deadline:
                raise CommandFailed(f"The pods of {self.selector} in {self.namespace} did not end.")
            time.sleep(1)

    @contextmanager
    def _watch(self) -> Iterator[IO[str]]:
        words = ["get", "pods", "-n", self.namespace, "-l", self.selector, "--watch", f"--output=jsonpath={JSONPATH}"]
        argv = ["kubectl", *self.kubectl.flags, *words, f"--request-timeout={TIMEOUT_S}s"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield process.stdout
            finally:
                process.terminate()
