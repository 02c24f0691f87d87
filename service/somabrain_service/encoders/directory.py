"""Sentence encoder from a directory laid out as on the Hugging Face hub, validated at start.

    model.onnx or onnx/model.onnx   the network
    tokenizer.json or vocab.txt     the tokenizer, as the library `tokenizers` writes it, or BERT's vocabulary
    1_Pooling/config.json           the pooling (sentence-transformers), unless the network's output is pooled
    modules.json                    the steps: only transformer, pooling and normalization are supported
    sentence_bert_config.json, tokenizer_config.json, config.json    maximum tokens; the least applies

A missing file or an unsupported step is a configuration error: a guess would produce vectors of another meaning.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import BertWordPieceTokenizer, Tokenizer

from common.config.settings import OnnxDirectory
from common.errors import ConfigurationError
from common.json_document import parse_json
from somabrain_service.domain.limits import MAX_VECTOR_DIMENSIONS
from somabrain_service.domain.token_vectors import MAX_WORD_PIECES
from somabrain_service.encoders.onnx import Network, OnnxEncoder, Pooling, open_session

SUPPORTED_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
SUPPORTED_STEPS = frozenset({"Transformer", "Pooling", "Normalize"})
MAX_LENGTH_KEYS = (
    ("sentence_bert_config.json", "max_seq_length"),
    ("tokenizer_config.json", "model_max_length"),
    ("config.json", "max_position_embeddings"),
)
_TOKEN_OUTPUT_RANK = 3
DEFAULT_MAX_TOKENS = 512
MAX_TOKENS = 8192
"""Maximum tokens of an input, truncated beyond: attention takes memory by the square of it."""


class _EncoderFolder:
    """Directory with the files of an encoder."""

    def __init__(self, encoder_id: str, path: Path) -> None:
        self._encoder_id, self.path = encoder_id, path
        if not path.is_dir():
            raise self.error("is not a directory; mount it there, or correct the setting")

    def error(self, problem: str) -> ConfigurationError:
        """Return the error of a problem, naming the encoder and the directory."""
        return ConfigurationError(f"encoder.onnx, {self._encoder_id!r}: {self.path} {problem}.")

    def first_file(self, *names: str) -> Path:
        """Return the first of these files that exists.

        Raises:
            ConfigurationError: none exists.
        """
        for name in names:
            if (self.path / name).is_file():
                return self.path / name
        raise self.error(f"contains no {' and no '.join(names)}; export the model as ONNX, with its tokenizer, to it")

    def read_json(self, name: str) -> object:
        """Return the parsed content of a JSON file; None: the file does not exist.

        Raises:
            ConfigurationError: the file is not JSON.
        """
        path = self.path / name
        if not path.is_file():
            return None
        try:
            return parse_json(path.read_text("utf-8"))
        except ValueError as exc:
            raise self.error(f"contains a {name} that is not JSON; export the model again") from exc

    def read_value(self, name: str, key: str) -> object:
        """Return a value of a file's JSON object; None: missing."""
        content = self.read_json(name)
        return content.get(key) if isinstance(content, dict) else None


def load(
    onnx: OnnxDirectory, threads: int, concurrency: int = 1, max_word_pieces: int = MAX_WORD_PIECES
) -> OnnxEncoder:
    """Load an encoder and encode a probe.

    `threads`: number of threads per run of the network. `concurrency`: maximum concurrent runs.

    Raises:
        ConfigurationError: a file is missing or invalid, or a step is unsupported; the message names it.
    """
    folder = _EncoderFolder(onnx.id, onnx.directory)
    _check_steps(folder)
    model = folder.first_file("model.onnx", "onnx/model.onnx")
    try:
        session = open_session(model, threads)
    except Exception as exc:  # onnxruntime's errors share no base
        raise folder.error(f"contains a {model.name} that onnxruntime cannot read; export it again") from exc
    if unknown := {node.name for node in session.get_inputs()} - SUPPORTED_INPUTS:
        raise folder.error(f"contains a network with unsupported inputs: {', '.join(sorted(unknown))}")
    output, pooling = _output(folder, session, onnx.pooling)
    token_output = next((node.name for node in session.get_outputs() if len(node.shape) == _TOKEN_OUTPUT_RANK), None)
    network = Network(session, _tokenizer(folder), output, pooling, token_output, max_word_pieces)
    try:
        (probe,) = network.vectors(["probe"])
    except Exception as exc:  # as above
        raise folder.error("contains a network and a tokenizer that do not match; export both again") from exc
    if probe.ndim != 1 or not np.isfinite(probe).all() or len(probe) > MAX_VECTOR_DIMENSIONS:
        raise folder.error(f"does not produce a vector of at most {MAX_VECTOR_DIMENSIONS} finite numbers per text")
    return OnnxEncoder(onnx.id, network, len(probe), concurrency)


def _check_steps(folder: _EncoderFolder) -> None:
    steps = folder.read_json("modules.json")
    for step in steps if isinstance(steps, list) else []:
        kind = str(step.get("type", "") if isinstance(step, dict) else "").rpartition(".")[2]
        if kind not in SUPPORTED_STEPS:
            raise folder.error(f"lists the unsupported step {kind!r} in modules.json")


def _output(
    folder: _EncoderFolder, session: onnxruntime.InferenceSession, chosen: Pooling | None
) -> tuple[str, Pooling | None]:
    """Return the name of the network's output and its pooling; None: the output is pooled already."""
    ranks = {node.name: len(node.shape) for node in session.get_outputs()}
    if pooled := [name for name, rank in ranks.items() if rank == 2 and name == "sentence_embedding"]:
        return pooled[0], None
    tokens = [name for name, rank in ranks.items() if rank == _TOKEN_OUTPUT_RANK]
    if not tokens:
        raise folder.error("contains a network with neither token vectors nor a `sentence_embedding` as output")
    return tokens[0], chosen or _pooling(folder)


def _pooling(folder: _EncoderFolder) -> Pooling:
    modes: dict[str, Pooling] = {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "cls",
        "pooling_mode_max_tokens": "max",
    }
    config = folder.read_json("1_Pooling/config.json")
    if not isinstance(config, dict):
        raise folder.error(
            "contains no 1_Pooling/config.json; set `pooling` to mean, cls or max, as its authors specify"
        )
    enabled = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    if len(enabled) != 1 or enabled[0] not in modes:
        raise folder.error(
            f"enables unsupported pooling: {' and '.join(enabled) or 'none'}; supported: one of {', '.join(modes)}"
        )
    return modes[enabled[0]]


def _tokenizer(folder: _EncoderFolder) -> Tokenizer | BertWordPieceTokenizer:
    path = folder.first_file("tokenizer.json", "vocab.txt")
    try:
        if path.name == "vocab.txt":
            lower = folder.read_value("tokenizer_config.json", "do_lower_case")
            tokenizer: Tokenizer | BertWordPieceTokenizer = BertWordPieceTokenizer(
                str(path), lowercase=lower is not False
            )
        else:
            tokenizer = Tokenizer.from_file(str(path))
    except Exception as exc:  # the library's errors share no base
        raise folder.error(f"contains a {path.name} that is not a tokenizer; export it again") from exc
    limits = [folder.read_value(name, key) for name, key in MAX_LENGTH_KEYS]
    # If the model has no limit, its library writes an absurdly large number.
    valid_limits = [limit for limit in limits if isinstance(limit, int) and 0 < limit < 10**6]
    tokenizer.enable_truncation(min([*valid_limits, MAX_TOKENS] if valid_limits else [DEFAULT_MAX_TOKENS]))
    pad_entry = folder.read_value("tokenizer_config.json", "pad_token")
    pad_text = pad_entry.get("content") if isinstance(pad_entry, dict) else pad_entry
    pad = pad_text if isinstance(pad_text, str) else "[PAD]"
    # Padding is masked, so any id will do.
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(pad) or 0, pad_token=pad)
    return tokenizer
