"""From a text to its terms: words without the commonest, as Snowball stems (Porter 2001).

What an analyzer gives is kept with the memories, so an analyzer never changes: another list or stemmer is another
analyzer with another name, and a namespace keeps the one it was made with.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

import Stemmer

from common.errors import Unimplemented
from somabrain_service.domain.stop_words import ENGLISH_1

ENGLISH = "en-1"
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_TERM_LENGTH = 64
"""Longer words are cut: a key of the index is bounded, and nobody asks for the sixty-fifth letter."""


def analyzer(language: str) -> str:
    """The newest analyzer of a language.

    Raises:
        Unimplemented: there is none for it.
    """
    if language != "en":
        raise Unimplemented(
            f"namespace.settings.language: {language!r} is not there yet; leave it empty or set it to `en`."
        )
    return ENGLISH


def terms(text: str) -> Counter[str]:
    """The terms of a text and how often each occurs, by the analyzer `en-1`."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).lower().replace("’", "'"))
    return Counter(_stem(word) for word in words if word not in ENGLISH_1)


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    # A stemmer keeps a cache of its own and is not safe in two threads; ours is the event loop's only.
    stem: str = _ENGLISH_STEMMER.stemWord(word)
    return stem[:_TERM_LENGTH]


_ENGLISH_STEMMER = Stemmer.Stemmer("english", 0)
