"""Publishes events: each is kept by all replicas, in order and without a gap, or the caller hears that it is not.

The client is librdkafka, whose calls block; they run in a thread. A producer that did not get everything through in
time is thrown away with what it still holds, and the next events get another one. What was on its way may arrive
nevertheless; it is then a part of the same order, told twice.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from common.config.settings import EventsSettings
from common.errors import Unavailable
from somabrain_service.domain.events import CONTENT_TYPE, Event
from somabrain_service.kafka import config

SLICE_S = 0.2
"""How soon a waiting thread notices that it is no longer wanted."""


@dataclass(frozen=True, slots=True)
class Published:
    """Which runs Kafka keeps whole, and why it does not keep the others; empty: it keeps all."""

    whole: tuple[bool, ...]
    reason: str


class Publisher:
    """See the module. For one caller at a time."""

    def __init__(self, settings: EventsSettings) -> None:
        self._settings = settings
        self._producer: Producer | None = None
        self._closing = threading.Event()
        self._said = ""

    async def publish(self, runs: Sequence[Sequence[Event]]) -> Published:
        """Publish runs of events, each run of one key and in its order.

        Raises:
            Unavailable: Kafka or its topic is not there; nothing was published.
        """
        return await asyncio.to_thread(self._publish, runs)

    async def close(self) -> None:
        """Throw away what Kafka does not have yet."""
        self._closing.set()
        await asyncio.to_thread(self._abandon)

    def _publish(self, runs: Sequence[Sequence[Event]]) -> Published:
        producer = self._producer = self._producer or self._open()
        ends_at = time.monotonic() + self._settings.timeout_s
        missing = [len(run) for run in runs]
        refused: list[str] = []

        def report_of(number: int) -> Callable[[KafkaError | None, Message], None]:
            def report(error: KafkaError | None, _: Message) -> None:
                if error is None:
                    missing[number] -= 1
                else:
                    refused.append(error.str())

            return report

        try:
            for number, run in enumerate(runs):
                self._send(producer, run, report_of(number))
        except KafkaException as exc:
            refused.append(config.words(exc))
        left = producer.flush(SLICE_S)
        while left and not refused and time.monotonic() < ends_at and not self._closing.is_set():
            left = producer.flush(SLICE_S)
        if not left and not refused:
            return Published((True,) * len(runs), "")
        self._abandon()
        reason = (refused or [self._said or f"it did not answer within {self._settings.timeout_s:g} s"])[0]
        return Published(tuple(count == 0 for count in missing), reason)

    def _send(
        self, producer: Producer, run: Sequence[Event], report: Callable[[KafkaError | None, Message], None]
    ) -> None:
        for event in run:
            producer.produce(
                self._settings.topic,
                key=event.key,
                value=event.to_json(),
                headers=_headers(event),
                timestamp=round(event.time.timestamp() * 1000),
                on_delivery=report,
            )

    def _open(self) -> Producer:
        """A producer for a topic that is there."""
        topic, self._said, producer = self._settings.topic, "", None
        try:
            producer = Producer(config.producer(self._settings), error_cb=self._hear)
            found = producer.list_topics(topic, timeout=self._settings.timeout_s).topics[topic]
        except KafkaException as exc:
            if producer is not None:
                producer.poll(0)  # hands out what it heard meanwhile, which says more
            raise Unavailable(f"Kafka cannot be reached: {self._said or config.words(exc)}.") from exc
        if found.error is not None:
            raise Unavailable(f"Kafka's topic {topic} cannot be used: {found.error.str()}.")
        return producer

    def _hear(self, error: KafkaError) -> None:
        self._said = error.str()

    def _abandon(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.flush(0)


def _headers(event: Event) -> list[tuple[str, str | bytes | None]]:
    """What a consumer knows before it reads the event."""
    headers: list[tuple[str, str | bytes | None]] = [("content-type", CONTENT_TYPE)]
    return [*headers, ("traceparent", event.traceparent)] if event.traceparent else headers
