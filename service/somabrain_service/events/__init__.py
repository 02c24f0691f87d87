"""Change events for Kafka as CloudEvents; the only package that imports its client."""
