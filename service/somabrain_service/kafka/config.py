"""How librdkafka is told what the settings say."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from common.config.settings import EventsSettings

Config = dict[str, str | int | float | bool]


def client_config(settings: EventsSettings) -> Config:
    """What every client of Kafka needs."""
    config: Config = {
        "bootstrap.servers": ",".join(settings.brokers),
        "client.id": "somabrain",
        "security.protocol": settings.security_protocol,
        "socket.keepalive.enable": True,
        # Its own log repeats each failed connection; what went wrong last is in our own log, once a round.
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


def producer_config(settings: EventsSettings) -> Config:
    """A producer that never leaves a gap: it tries for ever, in order, and stops for good where it could not.

    Whoever uses it gives up after a time of their own and makes another one.
    """
    return client_config(settings) | {
        "enable.idempotence": True,
        "acks": "all",
        "message.timeout.ms": 0,
        "enable.gapless.guarantee": True,
        "linger.ms": 5,
        # As the Java client has it, so that a key is at one place whoever writes it.
        "partitioner": "murmur2",
    }


def error_message(exc: KafkaException) -> str:
    """What librdkafka says went wrong; it never says a password."""
    error = exc.args[0]
    return error.str() if isinstance(error, KafkaError) else str(error)
