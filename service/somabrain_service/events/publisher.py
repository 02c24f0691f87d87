"""Publishes events: each is acknowledged by all in-sync replicas, in order and without a gap, or reported as failed.

The client is librdkafka, whose calls block; they run in a thread. A producer that did not deliver everything in time is
discarded with its queue, and the next events get another one. Messages in flight may arrive nevertheless; they then
repeat a part of the same sequence.

A producer keeps the certificates and the password that it was created with, so changed ones get another producer before
the next events; nothing is in flight then.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from common.config.settings import EventsSettings
from common.errors import Unavailable
from somabrain_service.events import kafka_config
from somabrain_service.events.cloudevents import CONTENT_TYPE, Event

FLUSH_INTERVAL_S = 0.2
"""Seconds per flush, after which a waiting thread checks for errors, its deadline and `close`."""

_log = structlog.stdlib.get_logger(__name__)


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
        self._files = kafka_config.file_state(settings)
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
        producer = self._producer = self._present_producer()
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

    def _present_producer(self) -> Producer:
        """Return the producer; a new one at first, after a failure, and once the password or a file for TLS changed.

        Raises:
            Unavailable: Kafka cannot be reached, or the topic cannot be used.
        """
        settings = kafka_config.with_credentials_of(self._current(), self._settings)
        files = kafka_config.file_state(settings)
        former = self._producer
        if former is not None and (settings, files) == (self._settings, self._files):
            return former
        self._settings, self._files, self._last_error = settings, files, ""
        try:
            producer = Producer(kafka_config.producer_config(settings), error_cb=self._on_error)
        except KafkaException as exc:
            if former is None:
                raise self._unreachable(exc) from exc
            reason = kafka_config.error_message(exc)
            _log.warning("changed settings of kafka rejected, the former ones stay in use", reason=reason)
            return former
        self._discard_producer()
        self._check_topic(producer)
        return producer

    def _check_topic(self, producer: Producer) -> None:
        """Check that the topic exists.

        Raises:
            Unavailable: Kafka cannot be reached, or the topic cannot be used.
        """
        topic = self._settings.topic
        try:
            metadata = producer.list_topics(topic, timeout=self._settings.timeout_s).topics[topic]
        except KafkaException as exc:
            producer.poll(0)  # delivers pending errors to `_on_error`, which are more specific
            raise self._unreachable(exc) from exc
        if metadata.error is not None:
            raise Unavailable(f"Kafka's topic {topic} cannot be used: {metadata.error.str()}.")

    def _unreachable(self, exc: KafkaException) -> Unavailable:
        return Unavailable(f"Kafka cannot be reached: {self._last_error or kafka_config.error_message(exc)}.")

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
