"""Text analysis: tokenize, drop stop words and reduce words to Snowball stems (Porter 2001).

The terms an analyzer produces are stored with the memories, so an analyzer never changes: another stop list, stemmer or
rule is a new analyzer with a new name, and all memories of a namespace are indexed by one.
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
"""Longer terms are truncated: index keys are bounded, and no query depends on the sixty-fifth character."""

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
"""Snowball algorithm per language (ISO 639-1)."""

_UNSTEMMED = ("ja", "ko", "mul", "zh")
"""Languages without stemming: their words are the terms; `mul` (ISO 639-2) is for multilingual text."""

LANGUAGES = tuple(sorted((*_SNOWBALL, *_UNSTEMMED)))

_ENGLISH_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
# `\w` does not match vowel signs and accents that are separate combining characters.
_MARK = (
    r"\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670"
    r"\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963\u0b82\u0bbe-\u0bd7"
)
_WORD = re.compile(rf"[^\W_](?:[^\W_]|[{_MARK}])*")
# Scripts without spaces (Han, kana), and Hangul, because Korean attaches particles to its words.
_UNSPACED = re.compile(
    r"[\u3005\u3006\u3041-\u3096\u30a1-\u30fa\u30fc\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\U00020000-\U0003134f]+"
)


Span = tuple[int, int]
"""First and end character of a part of a text."""


@dataclass(frozen=True, slots=True)
class Analyzer:
    """An immutable analyzer of one language and version. Created by `get_analyzer`."""

    name: str
    language: str
    stop_words: frozenset[str]

    def terms(self, text: str) -> Counter[str]:
        """Return the terms of a text with their frequencies."""
        algorithm = _SNOWBALL.get(self.language, "")
        return Counter(_stem(algorithm, word) for word in self._words(text) if word not in self.stop_words)

    def word_spans(self, text: str) -> list[Span]:
        """Return the first and the end character of each word of a text as it is; see `words_in_context`."""
        return [span for span, _ in self.words_in_context(text)]

    def words_in_context(self, text: str) -> list[tuple[Span, str]]:
        """Return the words of a text as it is, each with the part of the text whose terms contain the word.

        A word is its own context; but scripts without spaces have pairs of characters as terms, so there each character
        is a word, and its context reaches to its neighbours.
        """
        text = text.replace("’", "'")
        if self.language == "en":
            return [(match.span(), match[0]) for match in _ENGLISH_WORD.finditer(text)]
        words: list[tuple[Span, str]] = []
        for match in _WORD.finditer(text):
            for first, end in _split_runs(match[0]):
                if not _UNSPACED.match(match[0], first):
                    words.append(((match.start() + first, match.start() + end), match[0][first:end]))
                    continue
                for i in range(first, end):
                    context = match[0][max(i - 1, first) : min(i + 2, end)]
                    words.append(((match.start() + i, match.start() + i + 1), context))
        return words

    def _words(self, text: str) -> Iterator[str]:
        normalized = unicodedata.normalize("NFKC", text)
        if self.language == "tr":
            normalized = normalized.replace("I", "ı").replace("İ", "i")
        normalized = normalized.lower().replace("’", "'")
        if self.language == "en":
            # The English stop list contains words with an apostrophe, and the stemmer strips the genitive's.
            yield from _ENGLISH_WORD.findall(normalized)
            return
        for word in _WORD.findall(normalized):
            yield from _split_unspaced(word)


def latest_analyzer(language: str) -> Analyzer:
    """Return the newest analyzer of a language.

    Raises:
        InvalidArgument: the language is not supported.
    """
    if language not in LANGUAGES:
        raise InvalidArgument(
            "namespace.settings.language",
            f"must be one of {', '.join(LANGUAGES)}, or empty for `en`; `mul` indexes words of any language unstemmed",
        )
    return get_analyzer(f"{language}-{_VERSION}")


@lru_cache(maxsize=64)
def get_analyzer(name: str) -> Analyzer:
    """Return the analyzer with the name that a namespace stores.

    Raises:
        FailedPrecondition: the name is unknown, because a newer version of this service created it.
    """
    language, _, version = name.rpartition("-")
    if language not in LANGUAGES or version != str(_VERSION):
        raise FailedPrecondition(f"Unknown analyzer {name!r}: a newer version of this server created it.")
    stop_words_file = _DATA / f"stop-words-{name}.txt"
    return Analyzer(
        name, language, frozenset(stop_words_file.read_text("utf-8").split() if stop_words_file.exists() else ())
    )


def _split_runs(word: str) -> Iterator[Span]:
    """Yield the first and the end character of each part of a word: runs of a script without spaces, and the rest."""
    end = 0
    for match in _UNSPACED.finditer(word):
        if match.start() > end:
            yield end, match.start()
        yield match.span()
        end = match.end()
    if end < len(word):
        yield end, len(word)


def _split_unspaced(word: str) -> Iterator[str]:
    """Yield the word, with runs of a script without spaces split into overlapping character bigrams."""
    for first, end in _split_runs(word):
        if end - first == 1 or not _UNSPACED.match(word, first):
            yield word[first:end]
        else:
            yield from (word[i : i + 2] for i in range(first, end - 1))


@lru_cache(maxsize=65_536)
def _stem(algorithm: str, word: str) -> str:
    # A stemmer has an internal cache and is not thread-safe; this one is used by the event loop's thread only.
    stem: str = _stemmer(algorithm).stemWord(word) if algorithm else word
    return stem[:_MAX_TERM_LENGTH] or word[:_MAX_TERM_LENGTH]


@lru_cache(maxsize=64)
def _stemmer(algorithm: str) -> Stemmer.Stemmer:
    return Stemmer.Stemmer(algorithm, 0)
