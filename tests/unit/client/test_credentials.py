"""A malformed token is never sent, and never appears in an error message."""

from __future__ import annotations

from pathlib import Path

import pytest

from somabrain_client.credentials import TokenError, read_token


async def test_token_file_is_reread_on_each_call(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first.one\n")
    assert await read_token(file) == "first.one"
    file.write_text("second.one")
    assert await read_token(file) == "second.one"


async def test_token_source_may_be_sync_or_async_callable() -> None:
    async def later() -> str:
        return "a.b-c_d="

    assert await read_token(later) == await read_token(lambda: "a.b-c_d=") == "a.b-c_d="


@pytest.mark.parametrize("content", [b"", b"\n", b"sesame\nsesame", b"sesame open", b"s\xc3\xa9same", b"\xff", b"a\0b"])
async def test_token_invalid_in_header_is_rejected(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(TokenError, match="is not a bearer token") as caught:
        await read_token(file)
    assert "same" not in str(caught.value)
