"""Draw the pictures of README.

    python -m tests.pictures FOLDER

Runs `serve --embedded` with the commands of the client, and the operator with its chart's rights on a kube-apiserver,
and draws what they print. Ids and times are those of the run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from devcluster.environment import local_paths
from devcluster.loopback import api_server
from tests.integration.operator.api import api_of
from tests.integration.operator.brains import Brain
from tests.integration.operator.chart import account_of, install
from tests.integration.operator.process import operator
from tests.integration.service.service_process import EMBEDDED, service
from tests.pictures.terminal import picture

TURNS = (
    "Ada: We could leave from Bergen; the boat for Kirkenes sails at eight.",
    "Ben: I would rather not fly again.",
    "Ada: Then the night train, and I book the two lower berths.",
    "Ben: My brother moves to Tromsø in May.",
)
QUESTION = "When does the ship depart?"


def main(folder: Path) -> None:
    """Draw both pictures into a folder."""
    with tempfile.TemporaryDirectory(prefix="somabrain-pictures-") as draft:
        answer = _answer(Path(draft))
        status = _status(Path(draft))
    (folder / "picture-answer.svg").write_text(picture("An answer, each score explained to the word", answer))
    (folder / "picture-status.svg").write_text(picture("A status that says what is missing", status))
    print(f"pictures: {folder}/picture-answer.svg, {folder}/picture-status.svg")


def _answer(draft: Path) -> list[str]:
    """Return a conversation with the client's command, as typed and printed."""
    settings = {**EMBEDDED, "encoder__kind": "minilm-l6-v2-int8"}
    with service(draft, settings, "serve", "--embedded", "--data-dir", str(draft / "data")) as running:
        running.wait_until_ready()

        def somabrain(*words: str) -> list[str]:
            program = Path(sys.executable).with_name("somabrain")
            return _run([str(program), "--address", running.address, *words])

        somabrain("namespace", "create", "trip")
        for turn in TURNS:
            somabrain("remember", "trip", turn, "--session", "monday")
        shown = [f"$ somabrain recall trip {QUESTION!r} --top-k 2"]
        return [*shown, *somabrain("recall", "trip", QUESTION, "--top-k", "2")]


def _status(draft: Path) -> list[str]:
    """Return the status of a SomaBrain whose Secret lacks a key, as the plugin prints it."""
    with api_server() as server, api_of(server) as api:
        install(api)
        with operator(account_of(api, draft), draft / "operator.log") as started:
            started.wait_until_started()
            api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
            brain = Brain(api, "demo")
            brain.secret("somabrain-database", **{"app-dsn": "postgresql://app@pg/s"})
            brain.secret("somabrain-migration", **{"owner-dsn": "postgresql://owner@pg/s"})
            brain.apply()
            brain.until("Ready", "False")
            plugin = Path(sys.executable).with_name("kubectl-sb")
            flags = ["-n", "demo", f"--kubeconfig={server.kubeconfig}"]
            environment = {"PATH": f"{local_paths().bin}:/usr/bin:/bin", "HOME": str(draft)}  # kubectl caches there
            printed = _run([str(plugin), "status", "quickstart", *flags], **environment)
    return ["$ kubectl sb status quickstart --namespace demo", *printed]


def _run(argv: list[str], **environment: str) -> list[str]:
    ended = subprocess.run(argv, check=True, capture_output=True, text=True, env=environment or None)
    return ended.stdout.splitlines()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
