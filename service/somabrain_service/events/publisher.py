"""Publishes events: each is acknowledged by all in-sync replicas, in order and without a gap, or reported as failed.

The client is librdkafka, whose calls block; they run in a thread. A producer that did not deliver everything in time is
discarded with its queue, and the next events get another one. Messages in flight may arrive nevertheless; they then
repeat a part of the same sequence.
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
from somabrain_service.events import kafka_config
from somabrain_service.events.cloudevents import CONTENT_TYPE, Event

FLUSH_INTERVAL_S = 0.2
"""Seconds per flush, after which a waiting thread checks for errors, its deadline and `close`."""


@dataclass(frozen=True, slots=True)
class PublishResult:
    """Result per batch: acknowledged in full or not; `reason` is the first error, empty if all are acknowledged."""

    acknowledged: tuple[bool, ...]
    reason: str


class Publisher:
    """Publisher of events to one topic; see the module. For one caller at a time."""

    def __init__(self, settings: EventsSettings, current: Callable[[], EventsSettings] | None = None) -> None:
        """Prepare the publisher.

        Args:
            settings: the settings.
            current: returns the settings as they are now, for a user or password that was rotated; None: it never is.
        """
        self._settings = settings
        self._current = current or (lambda: settings)
        self._producer: Producer | None = None
        self._closing = threading.Event()
        self._last_error = ""

    async def publish(self, batches: Sequence[Sequence[Event]]) -> PublishResult:
        """Publish batches of events; each batch has one key, whose order is preserved.

        Raises:
            Unavailable: Kafka or its topic cannot be reached; nothing was published.
        """
        return await asyncio.to_thread(self._publish, batches)

    async def close(self) -> None:
        """Discard the producer and its undelivered messages."""
        self._closing.set()
        await asyncio.to_thread(self._discard_producer)

    def _publish(self, batches: Sequence[Sequence[Event]]) -> PublishResult:
        producer = self._producer = self._producer or self._open_producer()
        deadline = time.monotonic() + self._settings.timeout_s
        unacknowledged = [len(batch) for batch in batches]
        errors: list[str] = []

        def delivery_callback(number: int) -> Callable[[KafkaError | None, Message], None]:
            def on_delivery(error: KafkaError | None, _: Message) -> None:
                if error is None:
                    unacknowledged[number] -= 1
                else:
                    errors.append(error.str())

            return on_delivery

        try:
            for number, batch in enumerate(batches):
                self._send(producer, batch, delivery_callback(number))
        except KafkaException as exc:
            errors.append(kafka_config.error_message(exc))
        remaining = producer.flush(FLUSH_INTERVAL_S)
        while remaining and not errors and time.monotonic() < deadline and not self._closing.is_set():
            remaining = producer.flush(FLUSH_INTERVAL_S)
        if not remaining and not errors:
            return PublishResult((True,) * len(batches), "")
        self._discard_producer()
        reason = (errors or [self._last_error or f"it did not answer within {self._settings.timeout_s:g} s"])[0]
        return PublishResult(tuple(count == 0 for count in unacknowledged), reason)

    def _send(
        self, producer: Producer, batch: Sequence[Event], on_delivery: Callable[[KafkaError | None, Message], None]
    ) -> None:
        for event in batch:
            producer.produce(
                self._settings.topic,
                key=event.key,
                value=event.to_json(),
                headers=_headers(event),
                timestamp=round(event.time.timestamp() * 1000),
                on_delivery=on_delivery,
            )

    def _open_producer(self) -> Producer:
        """Return a producer after checking that the topic exists.

        Raises:
            Unavailable: Kafka cannot be reached, or the topic cannot be used.
        """
        # A producer keeps its certificates and its password; one that fails is discarded, so the next has the present.
        self._settings = self._current()
        topic, self._last_error, producer = self._settings.topic, "", None
        try:
            producer = Producer(kafka_config.producer_config(self._settings), error_cb=self._on_error)
            metadata = producer.list_topics(topic, timeout=self._settings.timeout_s).topics[topic]
        except KafkaException as exc:
            if producer is not None:
                producer.poll(0)  # delivers pending errors to `_on_error`, which are more specific
            raise Unavailable(
                f"Kafka cannot be reached: {self._last_error or kafka_config.error_message(exc)}."
            ) from exc
        if metadata.error is not None:
            raise Unavailable(f"Kafka's topic {topic} cannot be used: {metadata.error.str()}.")
        return producer

    def _on_error(self, error: KafkaError) -> None:
        self._last_error = error.str()

    def _discard_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.flush(0)


def _headers(event: Event) -> list[tuple[str, str | bytes | None]]:
    """Return the message headers: content type, and trace parent if the change was traced."""
    headers: list[tuple[str, str | bytes | None]] = [("content-type", CONTENT_TYPE)]
    return [*headers, ("traceparent", event.traceparent)] if event.traceparent else headers
