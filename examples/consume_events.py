"""Print each change of all memories once, even if Kafka repeats events and this program is restarted.

    pip install confluent-kafka
    python examples/consume_events.py 127.0.0.1:9092 somabrain.changes place.json

Delivery is at least once and in order, so a consumer stores, with its results, its state: the offsets, and for each
source the epoch and the greatest sequence that it has processed. `docs/events.md` explains why that is enough.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

Event = dict[str, Any]


class ConsumerState:
    """State of this consumer, in a file; a real consumer stores it in the same transaction as its results."""

    def __init__(self, file: Path) -> None:
        self._file = file
        stored = json.loads(file.read_text()) if file.exists() else {"offsets": {}, "sources": {}}
        self.offsets: dict[str, int] = stored["offsets"]
        self.sources: dict[str, dict[str, Any]] = stored["sources"]

    def is_new(self, event: Event) -> bool:
        """Return True if this event was not seen before, and record it as seen."""
        epoch, sequence = event["data"]["epoch"], event["sequence"]
        source = self.sources.setdefault(event["source"], {"epoch": epoch, "sequence": "", "former": []})
        if epoch in source["former"]:
            return False
        if epoch != source["epoch"]:
            # The namespace was created again or restored: its earlier sequence no longer applies.
            source["former"].append(source["epoch"])
            source.update(epoch=epoch, sequence="")
        if sequence <= source["sequence"]:
            return False
        source["sequence"] = sequence
        return True

    def save(self, partition: int, offset: int) -> None:
        """Store the state, atomically."""
        self.offsets[str(partition)] = offset + 1
        temporary = self._file.with_suffix(".draft")
        temporary.write_text(json.dumps({"offsets": self.offsets, "sources": self.sources}))
        temporary.replace(self._file)


def main(brokers: str, topic: str, state: ConsumerState) -> None:
    """Print events until interrupted."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "example", "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, p, state.offsets.get(str(p), 0)) for p in partitions])
    while True:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            sys.exit(f"Kafka error: {message.error()}")
        partition, offset, value = message.partition(), message.offset(), message.value()
        assert partition is not None  # a message that is not an error has all three
        assert offset is not None
        assert value is not None
        event = json.loads(value)
        if state.is_new(event):
            print(event["time"], event["type"], event["subject"], flush=True)
        state.save(partition, offset)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} BROKERS TOPIC FILE-FOR-THE-PLACE")
    main(sys.argv[1], sys.argv[2], ConsumerState(Path(sys.argv[3])))
