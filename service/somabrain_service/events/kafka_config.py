"""Configuration of librdkafka from the settings."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from common.config.settings import EventsSettings
from common.net.tls import FileSignature, file_signature

Config = dict[str, str | int | float | bool]


def client_config(settings: EventsSettings) -> Config:
    """Return the configuration of every Kafka client."""
    config: Config = {
        "bootstrap.servers": ",".join(settings.brokers),
        "client.id": "somabrain",
        "security.protocol": settings.security_protocol,
        "socket.keepalive.enable": True,
        # librdkafka logs each failed connection; the last error is in the service's own log, once per run.
        "log_level": 2,
    }
    if settings.security_protocol.startswith("SASL"):
        config |= {
            "sasl.mechanism": settings.sasl_mechanism,
            "sasl.username": settings.sasl_username or "",
            "sasl.password": settings.sasl_password.get_secret_value() if settings.sasl_password else "",
        }
    for name, file in (
        ("ssl.ca.location", settings.ca_file),
        ("ssl.certificate.location", settings.cert_file),
        ("ssl.key.location", settings.key_file),
    ):
        if file is not None:
            config[name] = str(file)
    return config


def file_state(settings: EventsSettings) -> FileSignature:
    """Return what differs when a file for TLS was replaced: librdkafka reads them once, when a client is created."""
    return file_signature((settings.ca_file, settings.cert_file, settings.key_file))


def with_credentials_of(current: EventsSettings, settings: EventsSettings) -> EventsSettings:
    """Return `settings` with the user and password of `current`, if it has both; nothing else is followed.

    Another topic, say, would divide the sequence of a namespace.
    """
    if not (current.sasl_username and current.sasl_password):
        return settings
    return settings.model_copy(update={"sasl_username": current.sasl_username, "sasl_password": current.sasl_password})


def producer_config(settings: EventsSettings) -> Config:
    """Return the configuration of a gapless producer: it retries for ever, in order, and fails fatally where it cannot.

    The caller gives up after its own time-out and creates another producer.
    """
    return client_config(settings) | {
        "enable.idempotence": True,
        "acks": "all",
        "message.timeout.ms": 0,
        "enable.gapless.guarantee": True,
        "linger.ms": 5,
        # The Java client's default, so that a key has the same partition for every producer.
        "partitioner": "murmur2",
    }


def error_message(exc: KafkaException) -> str:
    """Return librdkafka's error message, which never contains a password."""
    error = exc.args[0]
    return error.str() if isinstance(error, KafkaError) else str(error)
