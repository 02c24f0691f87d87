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

INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
STEPS = frozenset({"Transformer", "Pooling", "Normalize"})
LONGEST = (
    ("sentence_bert_config.json", "max_seq_length"),
    ("tokenizer_config.json", "model_max_length"),
    ("config.json", "max_position_embeddings"),
)
DEFAULT_TOKENS = 512
TOKENS = 8192
"""Longer inputs are cut: attention takes memory by the square of them."""


class _Folder:
    """The files of an encoder."""

    def __init__(self, encoder_id: str, path: Path) -> None:
        self._encoder_id, self.path = encoder_id, path
        if not path.is_dir():
            raise self.wrong("is no folder; mount it there, or correct the setting")

    def wrong(self, said: str) -> ConfigurationError:
        """What stops the start."""
        return ConfigurationError(f"encoder.onnx, {self._encoder_id!r}: {self.path} {said}.")

    def one_of(self, *names: str) -> Path:
        """The first of these files that is there.

        Raises:
            ConfigurationError: none is.
        """
        for name in names:
            if (self.path / name).is_file():
                return self.path / name
        raise self.wrong(f"holds no {' and no '.join(names)}; export the model as ONNX, with its tokenizer, to it")

    def document(self, name: str) -> object:
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
            raise self.wrong(f"holds a {name} that is no JSON; export the model anew") from exc

    def value(self, name: str, key: str) -> object:
        """One value of a file's object; None: there is none."""
        found = self.document(name)
        return found.get(key) if isinstance(found, dict) else None


def load(onnx: OnnxDirectory, threads: int) -> OnnxEncoder:
    """Read an encoder and try it. `threads`: how many one text is encoded with.

    Raises:
        ConfigurationError: it is not whole, or needs a step that is not known; says what and where.
    """
    folder = _Folder(onnx.id, onnx.directory)
    _check_steps(folder)
    model = folder.one_of("model.onnx", "onnx/model.onnx")
    try:
        session = open_session(model, threads)
    except Exception as exc:  # onnxruntime's errors share no base
        raise folder.wrong(f"holds a {model.name} that onnxruntime does not read; export it anew") from exc
    if unknown := {node.name for node in session.get_inputs()} - INPUTS:
        raise folder.wrong(f"holds a network that wants {', '.join(sorted(unknown))}, which is not known here")
    output, pooling = _output(folder, session, onnx.pooling)
    network = Network(session, _tokenizer(folder), output, pooling)
    try:
        (probe,) = network.vectors(["probe"])
    except Exception as exc:  # as above
        raise folder.wrong("holds network and tokenizer that do not go together; export both anew") from exc
    if probe.ndim != 1 or not np.isfinite(probe).all() or len(probe) > VECTOR_DIMENSIONS:
        raise folder.wrong(f"makes no vector of at most {VECTOR_DIMENSIONS} finite numbers of a text")
    return OnnxEncoder(onnx.id, network, len(probe))


def _check_steps(folder: _Folder) -> None:
    listed = folder.document("modules.json")
    for step in listed if isinstance(listed, list) else []:
        kind = str(step.get("type", "") if isinstance(step, dict) else "").rpartition(".")[2]
        if kind not in STEPS:
            raise folder.wrong(f"names the step {kind!r} in modules.json, which is not known here")


def _output(
    folder: _Folder, session: onnxruntime.InferenceSession, chosen: Pooling | None
) -> tuple[str, Pooling | None]:
    """The network's output to take, and how it is pooled; None: it is pooled already."""
    ranks = {node.name: len(node.shape) for node in session.get_outputs()}
    if pooled := [name for name, rank in ranks.items() if rank == 2 and name == "sentence_embedding"]:
        return pooled[0], None
    tokens = [name for name, rank in ranks.items() if rank == 3]
    if not tokens:
        raise folder.wrong("holds a network with neither token vectors nor a `sentence_embedding` as output")
    return tokens[0], chosen or _pooling(folder)


def _pooling(folder: _Folder) -> Pooling:
    modes: dict[str, Pooling] = {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "cls",
        "pooling_mode_max_tokens": "max",
    }
    config = folder.document("1_Pooling/config.json")
    if not isinstance(config, dict):
        raise folder.wrong("holds no 1_Pooling/config.json; set `pooling` to mean, cls or max, as its authors say")
    on = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    if len(on) != 1 or on[0] not in modes:
        raise folder.wrong(f"asks for the pooling {' and '.join(on) or 'of none'}, known are {', '.join(modes)}")
    return modes[on[0]]


def _tokenizer(folder: _Folder) -> Tokenizer | BertWordPieceTokenizer:
    path = folder.one_of("tokenizer.json", "vocab.txt")
    try:
        if path.name == "vocab.txt":
            lower = folder.value("tokenizer_config.json", "do_lower_case")
            tokenizer: Tokenizer | BertWordPieceTokenizer = BertWordPieceTokenizer(
                str(path), lowercase=lower is not False
            )
        else:
            tokenizer = Tokenizer.from_file(str(path))
    except Exception as exc:  # the library's errors share no base
        raise folder.wrong(f"holds a {path.name} that is no tokenizer; export it anew") from exc
    limits = [folder.value(name, key) for name, key in LONGEST]
    # Where no limit is known, its authors' library writes a number beyond all reason.
    known = [limit for limit in limits if isinstance(limit, int) and 0 < limit < 10**6]
    tokenizer.enable_truncation(min([*known, TOKENS] if known else [DEFAULT_TOKENS]))
    named = folder.value("tokenizer_config.json", "pad_token")
    token = named.get("content") if isinstance(named, dict) else named
    pad = token if isinstance(token, str) else "[PAD]"
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(pad) or 0, pad_token=pad)  # masked, whatever it is
    return tokenizer
