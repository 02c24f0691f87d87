"""Whether Kafka answers and has the topic, asked every few seconds by a client of its own."""

from __future__ import annotations

import asyncio
import time

from confluent_kafka import KafkaError, KafkaException, Producer

from common.config.settings import EventsSettings
from common.health import HealthCheck
from somabrain_service.kafka import config

EVERY_S = 5.0
TIMEOUT_S = 2.0


class KafkaHealth:
    """How Kafka was found last. Without it everything is served; events come later."""

    def __init__(self, settings: EventsSettings) -> None:
        self._settings = settings
        self._client: Producer | None = None
        self._said = ""
        self._check = HealthCheck(False, "Kafka has not been asked yet.")

    def found(self) -> HealthCheck:
        """Return how Kafka was found last."""
        return self._check

    async def watch(self) -> None:
        """Ask every few seconds, until cancelled."""
        while True:
            self._check = await asyncio.to_thread(self._look)
            await asyncio.sleep(EVERY_S)

    def _look(self) -> HealthCheck:
        """Ask for the topic; blocks, but not for long."""
        topic, started = self._settings.topic, time.perf_counter()
        self._said = ""
        try:
            self._client = self._client or Producer(config.client(self._settings), error_cb=self._hear)
            found = self._client.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
        except KafkaException as exc:
            if self._client is not None:
                self._client.poll(0)  # hands out what it heard meanwhile, which says more
            return HealthCheck(False, f"Kafka does not answer: {self._said or config.words(exc)}.")
        if found.error is not None:
            return HealthCheck(False, f"Kafka's topic {topic} cannot be used: {found.error.str()}.")
        return HealthCheck(True, "Kafka answers and has the topic.", time.perf_counter() - started)

    def _hear(self, error: KafkaError) -> None:
        self._said = error.str()
