"""From a text to its terms: words without the commonest, as Snowball stems (Porter 2001).

What an analyzer gives is kept with the memories, so an analyzer never changes: another list, stemmer or rule is
another analyzer with another name, and every memory of a namespace is kept by one.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import Stemmer

from common.errors import FailedPrecondition, InvalidArgument

_MAX_TERM_LENGTH = 64
"""Longer words are cut: a key of the index is bounded, and nobody asks for the sixty-fifth letter."""

_DATA = Path(__file__).parent / "data"
_VERSION = 1

_SNOWBALL = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek", "en": "english",
    "eo": "esperanto", "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian", "fi": "finnish",
    "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian", "hy": "armenian", "id": "indonesian",
    "it": "italian", "lt": "lithuanian", "ne": "nepali", "nl": "dutch", "no": "norwegian", "pl": "polish",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian", "st": "sesotho", "sv": "swedish",
    "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip
"""The stemmer of each language (ISO 639-1)."""

_UNSTEMMED = ("ja", "ko", "mul", "zh")
"""Languages whose words are terms as they are; `mul` (ISO 639-2) is for texts of many languages."""

LANGUAGES = tuple(sorted((*_SNOWBALL, *_UNSTEMMED)))

_ENGLISH_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
# Python does not count vowel signs and accents that are characters of their own among letters.
_MARK = (
    r"\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670"
    r"\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963\u0b82\u0bbe-\u0bd7"
)
_WORD = re.compile(rf"[^\W_](?:[^\W_]|[{_MARK}])*")
# Scripts without spaces, and Korean, whose particles stand with their words: Han, kana, Hangul.
_UNSPACED = re.compile(
    r"[\u3005\u3006\u3041-\u3096\u30a1-\u30fa\u30fc\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\U00020000-\U0003134f]+"
)


@dataclass(frozen=True, slots=True)
class Analyzer:
    """One unchanging way from a text to its terms. Made by `named`."""

    name: str
    language: str
    stop_words: frozenset[str]

    def terms(self, text: str) -> Counter[str]:
        """The terms of a text and how often each occurs."""
        algorithm = _SNOWBALL.get(self.language, "")
        return Counter(_stem(algorithm, word) for word in self._words(text) if word not in self.stop_words)

    def _words(self, text: str) -> Iterator[str]:
        normalized = unicodedata.normalize("NFKC", text)
        if self.language == "tr":
            normalized = normalized.replace("I", "ı").replace("İ", "i")
        normalized = normalized.lower().replace("’", "'")
        if self.language == "en":
            # Its stop list holds words with an apostrophe, its stemmer takes off the genitive's.
            yield from _ENGLISH_WORD.findall(normalized)
            return
        for word in _WORD.findall(normalized):
            yield from _split_unspaced(word)


def latest_analyzer(language: str) -> Analyzer:
    """The newest analyzer of a language.

    Raises:
        InvalidArgument: there is none for it.
    """
    if language not in LANGUAGES:
        raise InvalidArgument(
            "namespace.settings.language",
            f"must be one of {', '.join(LANGUAGES)}, or empty for `en`; `mul` takes words of any language as they are",
        )
    return get_analyzer(f"{language}-{_VERSION}")


@lru_cache(maxsize=64)
def get_analyzer(name: str) -> Analyzer:
    """An analyzer by its name, as a namespace keeps it.

    Raises:
        FailedPrecondition: it is of a newer version of this service.
    """
    language, _, version = name.rpartition("-")
    if language not in LANGUAGES or version != str(_VERSION):
        raise FailedPrecondition(f"This server does not know the analyzer {name!r}; a newer version made it.")
    stop_words_file = _DATA / f"stop-words-{name}.txt"
    return Analyzer(
        name, language, frozenset(stop_words_file.read_text("utf-8").split() if stop_words_file.exists() else ())
    )


def _split_unspaced(word: str) -> Iterator[str]:
    """The word; where it is of a script without spaces, each two characters that follow each other."""
    end = 0
    for match in _UNSPACED.finditer(word):
        if match.start() > end:
            yield word[end : match.start()]
        characters = match[0]
        if len(characters) == 1:
            yield characters
        for i in range(len(characters) - 1):
            yield characters[i : i + 2]
        end = match.end()
    if end < len(word):
        yield word[end:]


@lru_cache(maxsize=65_536)
def _stem(algorithm: str, word: str) -> str:
    # A stemmer keeps a cache of its own and is not safe in two threads; ours is the event loop's only.
    stem: str = _stemmer(algorithm).stemWord(word) if algorithm else word
    return stem[:_MAX_TERM_LENGTH] or word[:_MAX_TERM_LENGTH]


@lru_cache(maxsize=64)
def _stemmer(algorithm: str) -> Stemmer.Stemmer:
    return Stemmer.Stemmer(algorithm, 0)
