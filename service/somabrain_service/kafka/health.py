"""Whether Kafka answers and has the topic, asked every few seconds by a client of its own."""

from __future__ import annotations

import asyncio
import time

from confluent_kafka import KafkaError, KafkaException, Producer

from common.config.settings import EventsSettings
from common.health import HealthCheck
from somabrain_service.kafka import config

PROBE_INTERVAL_S = 5.0
PROBE_TIMEOUT_S = 2.0


class KafkaHealth:
    """How Kafka was found last. Without it everything is served; events come later."""

    def __init__(self, settings: EventsSettings) -> None:
        self._settings = settings
        self._client: Producer | None = None
        self._last_error = ""
        self._check = HealthCheck(False, "Kafka has not been asked yet.")

    def last_check(self) -> HealthCheck:
        """Return how Kafka was found last."""
        return self._check

    async def watch(self) -> None:
        """Ask every few seconds, until cancelled."""
        while True:
            self._check = await asyncio.to_thread(self._probe)
            await asyncio.sleep(PROBE_INTERVAL_S)

    def _probe(self) -> HealthCheck:
        """Ask for the topic; blocks, but not for long."""
        topic, started = self._settings.topic, time.perf_counter()
        self._last_error = ""
        try:
            self._client = self._client or Producer(config.client_config(self._settings), error_cb=self._on_error)
            metadata = self._client.list_topics(topic, timeout=PROBE_TIMEOUT_S).topics[topic]
        except KafkaException as exc:
            if self._client is not None:
                self._client.poll(0)  # hands out what it heard meanwhile, which says more
            return HealthCheck(False, f"Kafka does not answer: {self._last_error or config.error_message(exc)}.")
        if metadata.error is not None:
            return HealthCheck(False, f"Kafka's topic {topic} cannot be used: {metadata.error.str()}.")
        return HealthCheck(True, "Kafka answers and has the topic.", time.perf_counter() - started)

    def _on_error(self, error: KafkaError) -> None:
        self._last_error = error.str()
