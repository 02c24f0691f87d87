"""Health of Kafka and its topic, probed every few seconds by a separate client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Producer

from common.config.settings import EventsSettings
from common.health import HealthCheck
from somabrain_service.events import kafka_config

PROBE_INTERVAL_S = 5.0
PROBE_TIMEOUT_S = 2.0


class KafkaHealth:
    """Last health check of Kafka. Without Kafka all calls are served, and events are published later.

    librdkafka keeps the certificates and the password of a client, so changed ones get another client.
    """

    def __init__(self, settings: EventsSettings, current: Callable[[], EventsSettings] | None = None) -> None:
        """Prepare the probes.

        Args:
            settings: the settings.
            current: returns the settings as they are now, for a user or password that was rotated; None: it never is.
        """
        self._settings = settings
        self._current = current or (lambda: settings)
        self._files = kafka_config.file_state(settings)
        self._client: Producer | None = None
        self._last_error = ""
        self._check = HealthCheck(False, "Kafka has not been probed yet.")

    def last_check(self) -> HealthCheck:
        """Return the result of the last probe."""
        return self._check

    async def watch(self) -> None:
        """Probe every few seconds, until cancelled."""
        while True:
            self._check = await asyncio.to_thread(self._probe)
            await asyncio.sleep(PROBE_INTERVAL_S)

    def _probe(self) -> HealthCheck:
        """Request the topic's metadata; blocks for `PROBE_TIMEOUT_S` at most."""
        settings = kafka_config.with_credentials_of(self._current(), self._settings)
        files = kafka_config.file_state(settings)
        if (settings, files) != (self._settings, self._files):
            self._settings, self._files, self._client = settings, files, None
        topic, started = settings.topic, time.perf_counter()
        self._last_error = ""
        try:
            self._client = self._client or Producer(kafka_config.client_config(settings), error_cb=self._on_error)
            metadata = self._client.list_topics(topic, timeout=PROBE_TIMEOUT_S).topics[topic]
        except KafkaException as exc:
            if self._client is not None:
                self._client.poll(0)  # delivers pending errors to `_on_error`, which are more specific
            return HealthCheck(False, f"Kafka does not answer: {self._last_error or kafka_config.error_message(exc)}.")
        if metadata.error is not None:
            return HealthCheck(False, f"Kafka's topic {topic} cannot be used: {metadata.error.str()}.")
        return HealthCheck(True, "Kafka answers and has the topic.", time.perf_counter() - started)

    def _on_error(self, error: KafkaError) -> None:
        self._last_error = error.str()
