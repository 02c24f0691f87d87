"""A Redis URL is parsed into an address; an invalid one is refused without showing it, as it has a password in it."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from common.config.settings import CacheSettings
from common.errors import ConfigurationError
from common.net.redis import RedisAddress, parse_address


def read(url: str) -> RedisAddress:
    return parse_address(CacheSettings(url=SecretStr(url)))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://cache", RedisAddress("alone", False, [("cache", 6379)], None, None, "", 0)),
        ("rediss://:p%40ss@cache:6380/3", RedisAddress("alone", True, [("cache", 6380)], None, "p@ss", "", 3)),
        ("redis://me:@cache/", RedisAddress("alone", False, [("cache", 6379)], "me", "", "", 0)),
        ("redis://[::1]:7", RedisAddress("alone", False, [("::1", 7)], None, None, "", 0)),
        (
            "rediss+sentinel://u:p@s-0,s-1:9/somabrain/2",
            RedisAddress("sentinel", True, [("s-0", 26379), ("s-1", 9)], "u", "p", "somabrain", 2),
        ),
        (
            "redis+cluster://n-0:7000,n-1",
            RedisAddress("cluster", False, [("n-0", 7000), ("n-1", 6379)], None, None, "", 0),
        ),
    ],
)
def test_redis_url_forms_are_parsed(url: str, address: RedisAddress) -> None:
    assert read(url) == address


@pytest.mark.parametrize(
    "url",
    [
        *("", "sesame", "http://sesame", "redis://", "redis://sesame:p@", "redis://sesame:x@h:port"),
        *("redis://sesame@h/db", "redis://sesame@h/0/1", "redis://sesame@a,b", "redis://sesame@h/-1"),
        *("redis+sentinel://sesame@h", "redis+sentinel://sesame@h/name/x", "redis+cluster://sesame@h/1"),
        *("redis+other://sesame@h", "redis://sesame@h?ssl=no", "redis://sesame@h:99999", "redis://:sesame@[::1"),
    ],
)
def test_invalid_redis_url_is_rejected_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cache\.url: must be redis://") as caught:
        read(url)
    assert "sesame" not in caught.value.message
