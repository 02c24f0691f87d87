"""Demo on the local cluster, from installation to recall: `make demo`.

Installs the charts, applies examples/quickstart.yaml, waits until the SomaBrain is Ready, stores a chapter of a book,
recalls paragraphs of it, and shows the breakdown of each score. Run again, it resumes and stores nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from examples.kubectl import ROOT, CommandFailed, Kubectl
from examples.outdated_pods import replace_outdated_pods
from examples.progress import Line, wait
from somabrain_client import CallError, Filter, MemoryClient, RecallResult
from somabrain_client.errors import AlreadyExistsError

EXAMPLES = Path(__file__).parent
NAMESPACE, BRAIN = "demo", "quickstart"
INFRA, OPERATOR = "soma-infra", "somabrain-system"
BOOK, SESSION = "alice", "chapter-1"
QUESTIONS = (
    "Why did Alice run after the rabbit?",
    "What is the name of her cat, and what does it drink?",
    "What was written on the bottle, and how did it taste?",
    "Why could she not reach the key on the table?",
)
UNANSWERABLE = "Which interest rate did the central bank announce?"
MIN_SCORE = 0.2
READY_TIMEOUT_S = 300.0


def install(kubectl: Kubectl) -> None:
    """Install the charts that a SomaBrain needs, and copy the database's Secrets to the demo's namespace."""
    subprocess.run([ROOT / "scripts" / "install_charts.sh", kubectl.kubeconfig], check=True)
    kubectl.ensure_namespace(NAMESPACE)
    for secret in ("somabrain-database", "somabrain-migration"):
        kubectl.copy_secret(secret, INFRA, NAMESPACE)
    for pod in replace_outdated_pods(kubectl, (OPERATOR, NAMESPACE)):
        print(f"· replacing {pod}, whose image was rebuilt")


def pods_ready(kubectl: Kubectl, namespace: str, kind: str, name: str) -> tuple[bool, str]:
    """Return whether all pods of a Deployment or StatefulSet are ready, and a text with their number."""
    workload = kubectl.get(namespace, kind, name)
    ready, desired = workload["status"].get("readyReplicas", 0), workload["spec"]["replicas"]
    observed = workload["status"].get("observedGeneration") == workload["metadata"]["generation"]
    updated = workload["status"].get("updatedReplicas", 0) == desired
    return observed and updated and ready == desired, f"{ready} of {desired} pods ready"


def brain_ready(kubectl: Kubectl) -> tuple[bool, str]:
    """Return whether the SomaBrain is Ready for its newest generation, and the condition's message."""
    resource = kubectl.get(NAMESPACE, "sb", BRAIN)
    conditions = {each["type"]: each for each in resource.get("status", {}).get("conditions", ())}
    ready = conditions.get("Ready")
    if ready is None:
        return False, "not reconciled yet"
    current = ready["observedGeneration"] == resource["metadata"]["generation"]
    return current and ready["status"] == "True", ready["message"]


def wait_for_all(kubectl: Kubectl, line: Line) -> None:
    """Wait for the database, the operator and the SomaBrain, showing progress.

    Raises:
        CommandFailed: one of them did not become ready; the message includes pods and conditions.
    """
    stages = (
        ("PostgreSQL", INFRA, lambda: pods_ready(kubectl, INFRA, "statefulset", "postgresql")),
        ("the operator", OPERATOR, lambda: pods_ready(kubectl, OPERATOR, "deployment", "somabrain-operator")),
        (f"SomaBrain {BRAIN}", NAMESPACE, lambda: brain_ready(kubectl)),
    )
    for what, namespace, state in stages:
        if not wait(line, what, state, READY_TIMEOUT_S):
            pods = kubectl("get", "pods", "-n", namespace)
            raise CommandFailed(
                f"{what} was not ready within {READY_TIMEOUT_S:.0f} s.\n{pods}\n{conditions(kubectl)}\n"
                f"See: kubectl --kubeconfig {kubectl.kubeconfig} -n {namespace} describe pods"
            )


def conditions(kubectl: Kubectl) -> str:
    """Return the conditions of the SomaBrain as a table."""
    listed = kubectl.get(NAMESPACE, "sb", BRAIN).get("status", {}).get("conditions", [])
    rows = [f"  {each['type']:<19} {each['status']:<8} {each['reason']:<22} {each['message']}" for each in listed]
    return "\n".join(["  CONDITION           STATUS   REASON                 MESSAGE", *rows])


async def remember_book(client: MemoryClient, line: Line) -> None:
    """Store each missing paragraph at its position in the session."""
    attribution, *texts = (EXAMPLES / "alice-chapter-1.txt").read_text().strip().split("\n\n")
    print(f"\n{attribution}")
    with contextlib.suppress(AlreadyExistsError):  # an earlier demo created it
        await client.create_namespace(BOOK, display_name="Alice's Adventures in Wonderland")
    stored_positions = {
        memory.session_position async for memory in client.list(BOOK, where=Filter(sessions=(SESSION,)))
    }
    missing = [position for position in range(len(texts)) if position not in stored_positions]
    if not missing:
        line.finish(f"{len(texts)} paragraphs are stored from an earlier demo")
        return
    line.begin()
    started = time.monotonic()
    for count, position in enumerate(missing, start=1):
        line.update(f"storing paragraph {count} of {len(missing)}")
        await client.remember(BOOK, texts[position], session=SESSION, session_position=position)
    line.finish(f"{len(missing)} paragraphs stored in {time.monotonic() - started:.1f} s, each one durable")


def show(question: str, result: RecallResult, elapsed_s: float) -> None:
    """Print the best paragraphs with the breakdown of each score."""
    print(f"\n  {question}   ({elapsed_s * 1000:.0f} ms; best lexical score {result.best_lexical:.2f} of 1)")
    for hit in result.hits:
        breakdown = hit.breakdown
        assert breakdown is not None
        print(
            f"    {hit.score:.3f} = (words {breakdown.lexical_relative:.3f} + meaning {breakdown.dense:.3f}) / 2 "
            f"+ neighbours {breakdown.contiguity:.3f}   paragraph {(hit.memory.session_position or 0) + 1}"
        )
        text = textwrap.shorten(hit.memory.text, 280, placeholder=" …")
        print(textwrap.fill(text, 100, initial_indent=" " * 6, subsequent_indent=" " * 6))
    if result.degraded:
        print(f"    Degraded: {', '.join(result.degraded)}.")


async def converse(address: str, token: str, line: Line) -> None:
    """Store the book and recall from it, as any agent of the namespace would."""
    async with MemoryClient(address, token=token) as client:
        await remember_book(client, line)
        for question in QUESTIONS:
            started = time.monotonic()
            result = await client.recall(BOOK, question, top_k=2, explain=True)
            show(question, result, time.monotonic() - started)
        result = await client.recall(BOOK, UNANSWERABLE, min_score=MIN_SCORE)
        print(f"\n  {UNANSWERABLE}")
        print(
            f"    {len(result.hits)} hits: the best lexical score is {result.best_lexical:.2f}, "
            f"and min_score requires {MIN_SCORE}."
        )


def farewell(kubectl: Kubectl, elapsed_s: float) -> None:
    """Print the final state, and commands to continue and to clean up."""
    service = f"svc/{BRAIN}-grpc"
    print(f"\n$ kubectl get sb -n {NAMESPACE}\n{kubectl('get', 'sb', '-n', NAMESPACE)}\n{conditions(kubectl)}")
    print(f"""
Done in {elapsed_s:.0f} s. To continue:
  export KUBECONFIG={kubectl.kubeconfig} PATH={Path(shutil.which("kubectl") or "/usr/bin/kubectl").parent}:$PATH
  kubectl -n {NAMESPACE} edit sb {BRAIN}         change replicas, policy or settings, and watch the rollout
  kubectl -n {NAMESPACE} describe sb {BRAIN}     conditions and events
  (umask 077; kubectl -n {NAMESPACE} create token agent --audience somabrain > token)
  kubectl -n {NAMESPACE} port-forward {service} 50052 &
  .venv/bin/somabrain --token-file token recall {BOOK} "Who is Dinah?"
To clean up:
  kubectl delete namespace {NAMESPACE}        the SomaBrain; the memories stay in the database
  make clean-cluster                   everything""")


def main() -> None:
    """Run the demo to its end."""
    started, line = time.monotonic(), Line()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # keeps the order with the output of the programs that it calls
    kubectl = Kubectl.of_local_cluster()
    install(kubectl)
    print(f"$ kubectl apply -n {NAMESPACE} -f examples/quickstart.yaml")
    print(kubectl("apply", "-n", NAMESPACE, "-f", str(EXAMPLES / "quickstart.yaml")), end="")
    wait_for_all(kubectl, line)
    token = kubectl.token(NAMESPACE, "agent")
    with kubectl.forward(NAMESPACE, f"svc/{BRAIN}-grpc", 50052) as address:
        asyncio.run(converse(address, token, line))
    farewell(kubectl, time.monotonic() - started)


if __name__ == "__main__":
    try:
        main()
    except (CommandFailed, CallError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        sys.exit(1)
    except subprocess.CalledProcessError:
        sys.exit(1)  # the script printed the reason
    except KeyboardInterrupt:
        print("\ndemo: interrupted; `make demo` resumes from here.", file=sys.stderr)
        sys.exit(130)
