"""The events in Kafka, as a consumer reads them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

Event = dict[str, Any]
WAIT_S = 60.0


def read_events(bootstrap: str, topic: str) -> list[Event]:
    """All events that a topic has now; those of one key are in order."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "tests", "enable.auto.commit": False})
    try:
        partitions = [
            TopicPartition(topic, p, 0) for p in consumer.list_topics(topic, timeout=30).topics[topic].partitions
        ]
        left = sum(consumer.get_watermark_offsets(each, timeout=30)[1] for each in partitions)
        consumer.assign(partitions)
        events: list[Event] = []
        while left:
            message = consumer.poll(30)
            assert message is not None
            assert not message.error(), message.error()
            value, key = message.value(), message.key()
            assert value is not None
            event = json.loads(value)
            assert key == event["source"].encode()
            events.append(event)
            left -= 1
        return events
    finally:
        consumer.close()


def wait_for_events(bootstrap: str, topic: str, enough: Callable[[list[Event]], bool]) -> list[Event]:
    """Wait until Kafka has enough events. After a restart it may not have its leaders yet."""
    ends_at = time.monotonic() + WAIT_S
    while True:
        error = ""
        try:
            if enough(events := read_events(bootstrap, topic)):
                return events
        except KafkaException as exc:
            events, error = [], str(exc)
        assert time.monotonic() < ends_at, f"only {len(events)} events within {WAIT_S:g} s {error}: {events[-3:]}"
        time.sleep(0.2)


def deduplicated(events: list[Event]) -> list[Event]:
    """The events with a sequence greater than all before of their source: the rule of docs/events.md for one epoch."""
    greatest: dict[str, str] = {}
    new = []
    for event in events:
        if event["sequence"] > greatest.get(event["source"], ""):
            greatest[event["source"]] = event["sequence"]
            new.append(event)
    return new
