"""A SomaBrain as a tree of text: its conditions, its objects and its recent events. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from somabrain_client.kubectl.kubectl import Object

CONDITIONS = (
    "Ready", "ConfigValid", "ReferencesResolved", "Provisioned", "Migrated", "Available", "McpAvailable", "Progressing",
    "Degraded", "Paused", "Reconciling", "Stalled",
)  # fmt: skip
"""Condition types in order of display; other types follow by name."""
NEGATIVE_CONDITIONS = frozenset({"Degraded", "Paused", "Progressing", "Reconciling", "Stalled"})
MAX_EVENTS = 8


def render_tree(brain: Object, children: Sequence[Object], events: Sequence[Object]) -> Iterator[str]:
    """Yield the lines of the tree.

    Args:
        brain: the SomaBrain object.
        children: the objects labelled as its own: Deployment, pods, Jobs and others.
        events: the events of the SomaBrain and its children.
    """
    yield _title(brain)
    branches = [("conditions", list(_conditions(brain))), ("objects", list(_objects(children)))]
    if events:
        branches.append(("events", list(_events(events))))
    for index, (name, lines) in enumerate(branches, start=1):
        last = index == len(branches)
        yield f"{'└─' if last else '├─'} {name}"
        for line_number, line in enumerate(lines, start=1):
            yield f"{'  ' if last else '│ '} {'└─' if line_number == len(lines) else '├─'} {line}"


def _title(brain: Object) -> str:
    meta, status = brain["metadata"], brain.get("status", {})
    facts = [f"SomaBrain {meta['namespace']}/{meta['name']}"]
    if "phase" in status:
        facts.append(status["phase"])
    if "version" in status:
        facts.append(f"version {status['version']}")
    facts.append(f"{status.get('readyReplicas', 0)} of {status.get('replicas', 0)} pods ready")
    if "endpoint" in status:
        facts.append(status["endpoint"])
    if status.get("observedGeneration") != meta["generation"]:
        facts.append(f"the operator has not observed generation {meta['generation']} yet")
    return " · ".join(facts)


def _conditions(brain: Object) -> Iterator[str]:
    conditions = {each["type"]: each for each in brain.get("status", {}).get("conditions", ())}
    if not any(each.get("observedGeneration") for each in conditions.values()):
        yield "none yet: is the operator running? kubectl get pods -A -l app.kubernetes.io/name=somabrain-operator"
    for kind in (*CONDITIONS, *sorted(set(conditions) - set(CONDITIONS))):
        if (each := conditions.get(kind)) is not None:
            yield f"{_mark(each)} {kind:<19}{each['status']:<8}{each['reason']}: {each['message']}"


def _mark(condition: Object) -> str:
    if condition["status"] == "Unknown":
        return "?"
    healthy = (condition["status"] == "True") != (condition["type"] in NEGATIVE_CONDITIONS)
    return "✓" if healthy else "✗"


def _objects(children: Sequence[Object]) -> Iterator[str]:
    for each in sorted(children, key=lambda child: (child["kind"], child["metadata"]["name"])):
        state = _state(each)
        yield f"{each['kind']} {each['metadata']['name']}{f': {state}' if state else ''}"


def _state(child: Object) -> str:
    status = child.get("status", {})
    match child["kind"]:
        case "Deployment":
            return f"{status.get('readyReplicas', 0)} of {child['spec'].get('replicas', 1)} ready"
        case "Job":
            finished = [each["type"] for each in status.get("conditions", ()) if each["status"] == "True"]
            return finished[-1] if finished else "running"
        case "Pod":
            return _pod(status)
        case _:
            return ""


def _pod(status: Object) -> str:
    """Return the pod's readiness or phase, its number of restarts, and the reasons of waiting containers."""
    containers = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ()))
    facts = ["ready" if ready else str(status.get("phase", "unknown"))]
    if restarts := sum(each.get("restartCount", 0) for each in containers):
        facts.append(f"{restarts} restarts")
    facts += [
        f"{each['name']} waits: {waiting['reason']}"
        for each in containers
        if (waiting := each.get("state", {}).get("waiting")) and waiting.get("reason") != "PodInitializing"
    ]
    return ", ".join(facts)


def _events(events: Sequence[Object]) -> Iterator[str]:
    for each in sorted(events, key=_timestamp)[-MAX_EVENTS:]:
        involved = each["involvedObject"]
        reason, message = each.get("reason", ""), each.get("message", "")
        yield f"{_timestamp(each)} {involved['kind']} {involved['name']} {reason}: {message}"


def _timestamp(event: Object) -> str:
    timestamp = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"]
    return str(timestamp)[:19]
