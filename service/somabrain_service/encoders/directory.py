"""A sentence encoder in a folder, laid out as on the Hugging Face hub, and checked before anything is served.

    model.onnx or onnx/model.onnx   the network
    tokenizer.json or vocab.txt     the tokenizer, as the library `tokenizers` writes it, or BERT's vocabulary
    1_Pooling/config.json           how token vectors become one (sentence-transformers), where the network does not
    modules.json                    which steps there are: only a transformer, pooling and normalisation are known
    sentence_bert_config.json, tokenizer_config.json, config.json    the longest input, in tokens; the least counts

What is missing or not known stops the start and is said: a guess would make vectors of another meaning.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import BertWordPieceTokenizer, Tokenizer

from common.config.settings import OnnxDirectory
from common.errors import ConfigurationError
from somabrain_service.domain.limits import VECTOR_DIMENSIONS
from somabrain_service.encoders.onnx import Network, OnnxEncoder, Pooling, open_session

SUPPORTED_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
SUPPORTED_STEPS = frozenset({"Transformer", "Pooling", "Normalize"})
MAX_LENGTH_KEYS = (
    ("sentence_bert_config.json", "max_seq_length"),
    ("tokenizer_config.json", "model_max_length"),
    ("config.json", "max_position_embeddings"),
)
DEFAULT_MAX_TOKENS = 512
MAX_TOKENS = 8192
"""Longer inputs are cut: attention takes memory by the square of them."""


class _EncoderFolder:
    """The files of an encoder."""

    def __init__(self, encoder_id: str, path: Path) -> None:
        self._encoder_id, self.path = encoder_id, path
        if not path.is_dir():
            raise self.error("is no folder; mount it there, or correct the setting")

    def error(self, problem: str) -> ConfigurationError:
        """What stops the start."""
        return ConfigurationError(f"encoder.onnx, {self._encoder_id!r}: {self.path} {problem}.")

    def first_file(self, *names: str) -> Path:
        """The first of these files that is there.

        Raises:
            ConfigurationError: none is.
        """
        for name in names:
            if (self.path / name).is_file():
                return self.path / name
        raise self.error(f"holds no {' and no '.join(names)}; export the model as ONNX, with its tokenizer, to it")

    def read_json(self, name: str) -> object:
        """What a file of JSON holds; None: there is no such file.

        Raises:
            ConfigurationError: it is no JSON.
        """
        path = self.path / name
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text("utf-8"))
        except ValueError as exc:
            raise self.error(f"holds a {name} that is no JSON; export the model anew") from exc

    def read_value(self, name: str, key: str) -> object:
        """One value of a file's object; None: there is none."""
        content = self.read_json(name)
        return content.get(key) if isinstance(content, dict) else None


def load(onnx: OnnxDirectory, threads: int) -> OnnxEncoder:
    """Read an encoder and try it. `threads`: how many one text is encoded with.

    Raises:
        ConfigurationError: it is not whole, or needs a step that is not known; says what and where.
    """
    folder = _EncoderFolder(onnx.id, onnx.directory)
    _check_steps(folder)
    model = folder.first_file("model.onnx", "onnx/model.onnx")
    try:
        session = open_session(model, threads)
    except Exception as exc:  # onnxruntime's errors share no base
        raise folder.error(f"holds a {model.name} that onnxruntime does not read; export it anew") from exc
    if unknown := {node.name for node in session.get_inputs()} - SUPPORTED_INPUTS:
        raise folder.error(f"holds a network that wants {', '.join(sorted(unknown))}, which is not known here")
    output, pooling = _output(folder, session, onnx.pooling)
    network = Network(session, _tokenizer(folder), output, pooling)
    try:
        (probe,) = network.vectors(["probe"])
    except Exception as exc:  # as above
        raise folder.error("holds network and tokenizer that do not go together; export both anew") from exc
    if probe.ndim != 1 or not np.isfinite(probe).all() or len(probe) > VECTOR_DIMENSIONS:
        raise folder.error(f"makes no vector of at most {VECTOR_DIMENSIONS} finite numbers of a text")
    return OnnxEncoder(onnx.id, network, len(probe))


def _check_steps(folder: _EncoderFolder) -> None:
    steps = folder.read_json("modules.json")
    for step in steps if isinstance(steps, list) else []:
        kind = str(step.get("type", "") if isinstance(step, dict) else "").rpartition(".")[2]
        if kind not in SUPPORTED_STEPS:
            raise folder.error(f"names the step {kind!r} in modules.json, which is not known here")


def _output(
    folder: _EncoderFolder, session: onnxruntime.InferenceSession, chosen: Pooling | None
) -> tuple[str, Pooling | None]:
    """The network's output to take, and how it is pooled; None: it is pooled already."""
    ranks = {node.name: len(node.shape) for node in session.get_outputs()}
    if pooled := [name for name, rank in ranks.items() if rank == 2 and name == "sentence_embedding"]:
        return pooled[0], None
    tokens = [name for name, rank in ranks.items() if rank == 3]
    if not tokens:
        raise folder.error("holds a network with neither token vectors nor a `sentence_embedding` as output")
    return tokens[0], chosen or _pooling(folder)


def _pooling(folder: _EncoderFolder) -> Pooling:
    modes: dict[str, Pooling] = {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "cls",
        "pooling_mode_max_tokens": "max",
    }
    config = folder.read_json("1_Pooling/config.json")
    if not isinstance(config, dict):
        raise folder.error("holds no 1_Pooling/config.json; set `pooling` to mean, cls or max, as its authors say")
    enabled = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    if len(enabled) != 1 or enabled[0] not in modes:
        raise folder.error(f"asks for the pooling {' and '.join(enabled) or 'of none'}, known are {', '.join(modes)}")
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
        raise folder.error(f"holds a {path.name} that is no tokenizer; export it anew") from exc
    limits = [folder.read_value(name, key) for name, key in MAX_LENGTH_KEYS]
    # Where no limit is known, its authors' library writes a number beyond all reason.
    valid_limits = [limit for limit in limits if isinstance(limit, int) and 0 < limit < 10**6]
    tokenizer.enable_truncation(min([*valid_limits, MAX_TOKENS] if valid_limits else [DEFAULT_MAX_TOKENS]))
    pad_entry = folder.read_value("tokenizer_config.json", "pad_token")
    pad_text = pad_entry.get("content") if isinstance(pad_entry, dict) else pad_entry
    pad = pad_text if isinstance(pad_text, str) else "[PAD]"
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(pad) or 0, pad_token=pad)  # masked, whatever it is
    return tokenizer
