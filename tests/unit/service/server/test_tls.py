"""Valid and invalid combinations of certificate files, and the messages for invalid ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from common.errors import ConfigurationError
from somabrain_service.server.tls import CertificateFiles, validate_files

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PLAIN = NoEncryption()


def pem(key: ec.EllipticCurvePrivateKey, encryption: KeySerializationEncryption = PLAIN) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - DAY, NOW + DAY)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


KEY = ec.generate_private_key(ec.SECP256R1())
GOOD = CertificateFiles(certificate(KEY), pem(KEY), certificate(KEY))
ANOTHER = pem(ec.generate_private_key(ec.SECP256R1()))


def test_validate_files_returns_certificate_expiry() -> None:
    assert validate_files(GOOD, NOW) == NOW + DAY
    assert validate_files(replace(GOOD, client_ca=None), NOW) == NOW + DAY


@pytest.mark.parametrize(
    ("files", "now", "expected"),
    [
        (replace(GOOD, cert=b""), NOW, "grpc.tls.cert_file: contains no PEM certificate"),
        (replace(GOOD, key=b"rubbish"), NOW, "grpc.tls.key_file: contains no PEM private key"),
        (replace(GOOD, key=pem(KEY, BestAvailableEncryption(b"x"))), NOW, "key without a password"),
        (replace(GOOD, key=ANOTHER), NOW, "grpc.tls.key_file: is not the key of the certificate"),
        (replace(GOOD, client_ca=b""), NOW, "grpc.tls.client_ca_file: contains no PEM certificate"),
        (GOOD, NOW + DAY, "grpc.tls.cert_file: is valid from 2029-12-31T00:00:00+00:00 to 2030-01-02"),
        (GOOD, NOW - 2 * DAY, "and now is 2029-12-30T00:00:00+00:00; renew it"),
    ],
)
def test_inconsistent_files_error_names_setting(files: CertificateFiles, now: datetime, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        validate_files(files, now)
    assert expected in caught.value.message
    assert "\n" not in caught.value.message
