"""Every request that parses is answered, never with INTERNAL or UNKNOWN, and the server's memory does not grow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from somabrain.memory.v1 import memory_service_pb2, namespace_service_pb2
from tests.contract import METHODS, path
from tests.integration.service.fuzzing import NAMESPACE, messages
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess, service

WATCHED_S = 0.3
FAILED = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DATA_LOSS,
}
CALLS = 1500
WARM_UP = 150
GROWTH_KIB = 64 * 1024


class Target:
    """A running service, the valid names and tokens that it returned, and the status of each call."""

    def __init__(self, running: ServiceProcess, token: str) -> None:
        self.channel = grpc.insecure_channel(running.address)
        self.real_values: dict[str, list[str]] = {}
        self.answers: dict[grpc.StatusCode, int] = {}
        self.resident_kib: list[int] = []
        self._status = Path(f"/proc/{running.process.pid}/status")
        self._metadata = (("authorization", f"Bearer {token}"),)

    def call(self, method: MethodDescriptor, request: Message) -> list[Message]:
        """Call, and record the status and the server's resident memory."""
        kind = message_factory.GetMessageClass(method.output_type)
        make = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        send = make(path(method), type(request).SerializeToString, kind.FromString)
        code, received, watch = grpc.StatusCode.OK, [], method.name == "WatchMemories"
        try:
            answer = send(request, timeout=WATCHED_S if watch else 20, metadata=self._metadata)
            received = list(cast("Iterable[Message]", answer)) if method.server_streaming else [cast("Message", answer)]
        except grpc.RpcError as exc:
            code = cast("grpc.Call", exc).code()
        self.answers[code] = self.answers.get(code, 0) + 1
        self.resident_kib.append(int(self._status.read_text().partition("VmRSS:")[2].split()[0]))
        # A watch ends with its deadline, or never.
        assert code not in FAILED or (watch and code is grpc.StatusCode.DEADLINE_EXCEEDED), (
            f"{method.name}: {code.name}"
        )
        return received

    def fill(self) -> None:
        """Create the namespace, with a few memories."""
        methods = {method.name: method for method in METHODS}
        create = namespace_service_pb2.CreateNamespaceRequest(namespace_id=NAMESPACE.partition("/")[2])
        self.call(methods["CreateNamespace"], create)
        for number in range(30):
            request = memory_service_pb2.RememberRequest(parent=NAMESPACE)
            request.memory.text, request.memory.session = f"tea number {number}", "monday"
            self.learn(*self.call(methods["Remember"], request))
        page = memory_service_pb2.ListMemoriesRequest(parent=NAMESPACE, page_size=2)
        self.learn(*self.call(methods["ListMemories"], page))

    def learn(self, message: Message) -> None:
        """Collect the names and tokens in a message."""
        for field, value in message.ListFields():
            for item in value if field.is_repeated else (value,):
                if isinstance(item, Message):
                    self.learn(item)
                elif field.name in {"name", "etag", "consistency_token", "next_page_token"}:
                    self.real_values.setdefault(field.name.removeprefix("next_"), []).append(item)


@pytest.fixture(scope="module")
def target(folder: Path, settings: dict[str, object], idp: Issuer) -> Iterator[Target]:
    """A service with the default encoder, and a namespace in it."""
    with service(folder, {**settings, "encoder__kind": "minilm-l6-v2-int8"}) as running:
        running.wait_until_ready()
        filled = Target(running, idp.token("hostile"))
        filled.fill()
        yield filled
        filled.channel.close()


def test_fuzzed_requests_get_a_status_without_memory_growth(target: Target) -> None:
    chosen = st.sampled_from(METHODS)

    @bounded(
        max_examples=CALLS,
        deadline=None,
        database=None,
        # The server's state goes on from call to call, so a failure cannot be made smaller by repeating.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def attack(data: st.DataObject) -> None:
        method = data.draw(chosen)
        deleted = target.call(method, data.draw(messages(method.input_type, target.real_values)))
        if deleted and method.name == "DeleteNamespace":
            target.fill()

    attack()
    assert target.answers[grpc.StatusCode.OK] > CALLS / 20, target.answers
    grown = max(target.resident_kib[WARM_UP:]) - target.resident_kib[WARM_UP]
    assert grown < GROWTH_KIB, target.resident_kib[::50]
