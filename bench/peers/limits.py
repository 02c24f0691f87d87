"""Limits of each system in this measurement, printed below the table."""

from __future__ import annotations

from typing import Final

from bench.peers.client import System

LIMITS: Final = {
    System.EMPTY: "a grpc.aio handler that returns an empty message: the floor of any gRPC service in Python",
    System.PRODUCT: (
        "compares every memory, by words, vector and neighbours in the session; no approximate index, so a search takes"
        " longer the more memories there are; no language model extracts facts; with `serve --embedded` there is no"
        " authentication"
    ),
    System.CHROMA: (
        "searches an approximate index (HNSW) by vector alone: words do not count in the score, but can filter;"
        " sessions are metadata; the server has no authentication of its own since 1.0; it stores and finds any"
        " vectors, not only texts"
    ),
    System.MEM0: (
        "a library in the client's process, so there is no server to authenticate at, and the user is a filter that the"
        " caller chooses; words count for memories that have all words of the question and are among the nearest by"
        " vector; sessions are metadata; extraction of facts, which is its purpose, is off (`infer=False`), and so are"
        " lemmas and entities, which need a language package from outside the package index"
    ),
}
