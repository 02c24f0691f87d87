"""Evidence recall through the real server, an ablation of Recall, and how well scores detect unanswerable questions.

    make bench-recall DATA=conversations.json

The file is a list of conversations, or LongMemEval's published JSON; docs/bench.md has both formats, and how recall is
counted by turn and by session. Each conversation becomes a namespace, each session a session, each question a Recall.

Rows marked `server` call the running service over gRPC: a part is switched off by an option of a namespace or request,
or by a flag. Parts without such an option are computed by the pure scorer (`bench.ablation`, `bench.late_tables`). The
variants are of conversations with many questions; of LongMemEval, where each question has a haystack of its own, the
defaults alone are measured.

Each question is also sent to another conversation, which does not contain the answer: the AUC is the probability that a
score of a question in its own conversation is above that of one in the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace

from bench import ablation, late_tables
from bench.conversations import Corpus, read
from bench.json_entry import ShapeError
from bench.recall_measurement import K, Measurement, measure_defaults, measure_variant
from bench.recall_variants import DEFAULTS, FLAG_VARIANTS, VARIANTS, Questioner, Stored, store
from bench.retrieval_figures import CUTS, ErrorRates, Unit, auc, bootstrap, groups
from bench.server import somabrain
from bench.token_similarity import encode
from devcluster.loopback import Etcd, etcd
from somabrain_client import MemoryClient
from somabrain_service.encoders import minilm

SEED = 7
FLAG_DELAY_S = 1.0
"""Time until a changed flag has an effect, at most (docs/flags.md)."""
FLAG_KEY = "/somabrain/flags/global"
THRESHOLDS = (0.4, 0.45, 0.5)


async def measure(address: str, flags: Etcd, corpus: Corpus) -> float:
    """Print what the server measures, and return the evidence recall at the defaults."""
    encoder = minilm.load(threads=1)
    async with MemoryClient(address, deadline_s=120) as client:
        questioner = Questioner(client, encoder)
        defaults, stored = await measure_defaults(questioner, corpus)
        print_recall(defaults)
        print_scores(defaults)
        figure = sum(recalls[CUTS.index(K)] for recalls in defaults.by_turn) / len(defaults.questions)
        if not corpus.own_haystacks:
            await print_variants(questioner, flags, corpus, stored, figure)
    await encoder.close()
    return figure


async def print_variants(
    questioner: Questioner, flags: Etcd, corpus: Corpus, stored: Sequence[Stored], figure: float
) -> None:
    """Print the evidence recall of each variant. `stored`: the conversations as stored at the defaults."""
    print(f"\n| what takes part | evidence recall@{K} | by |\n| --- | ---: | --- |")
    print(f"| {DEFAULTS.label} | {figure:.3f} | server |", flush=True)
    for variant in FLAG_VARIANTS:
        for name, value in variant.flags.items():
            await asyncio.to_thread(flags.put, f"{FLAG_KEY}/{name}", value)
        await asyncio.sleep(FLAG_DELAY_S)
        recall = await measure_variant(questioner, corpus.conversations, stored, variant)
        for name in variant.flags:
            await asyncio.to_thread(flags.delete, f"{FLAG_KEY}/{name}")
        print(f"| {variant.label} | {recall:.3f} | server |", flush=True)
    await asyncio.sleep(FLAG_DELAY_S)
    for number, variant in enumerate(VARIANTS):
        conversations = list(enumerate(corpus.conversations))
        own = [await store(questioner.client, f"v{number}-{i}", each, variant) for i, each in conversations]
        recall = await measure_variant(questioner, corpus.conversations, own, variant)
        print(f"| {variant.label} | {recall:.3f} | server |", flush=True)


def print_recall(measurement: Measurement) -> None:
    """Print recall by turn and by session, of all questions, by pieces of evidence and by category."""
    tables: dict[Unit, list[list[float]]] = {"turn": measurement.by_turn, "session": measurement.by_session}
    for unit, recalls in tables.items():
        print(f"\n| questions, evidence by {unit} | number | {' | '.join(f'R@{cut}' for cut in CUTS)} |")
        print(f"| --- | ---: | {' | '.join('---:' for _ in CUTS)} |")
        for name, rows in groups(measurement.questions, unit).items():
            columns = [str(bootstrap([recalls[row][column] for row in rows])) for column in range(len(CUTS))]
            print(f"| {name} | {len(rows)} | {' | '.join(columns)} |", flush=True)
    print("\nIn brackets: 95 % intervals of the mean, bootstrapped over questions.")


def print_scores(measurement: Measurement) -> None:
    """Print how well scores tell a question's own conversation from an unrelated one."""
    if not measurement.best_match.away:
        print("\nThere is no unrelated conversation, so no score of unanswerable questions.")
        return
    print("\nsent to an unrelated conversation, AUC of")
    print(f"  best_match           = {auc(measurement.best_match.home, measurement.best_match.away):.3f}")
    print(f"  best_lexical         = {auc(measurement.best_lexical.home, measurement.best_lexical.away):.3f}")
    print(f"  the best hit's score = {auc(measurement.best_score.home, measurement.best_score.away):.3f}")
    print("\n| best_match at least | own conversation, below | unrelated conversation, at or above |")
    print("| ---: | ---: | ---: |")
    for threshold in THRESHOLDS:
        rates = ErrorRates.of(threshold, measurement.best_match.home, measurement.best_match.away)
        print(f"| {threshold:.2f} | {rates.rejected:.1%} | {rates.accepted:.1%} |")


def sample(corpus: Corpus, questions: int) -> Corpus:
    """Return the conversations with this many of the questions, drawn at random with a fixed seed."""
    pairs = [(number, row) for number, one in enumerate(corpus.conversations) for row in range(len(one.questions))]
    if questions >= len(pairs):
        return corpus
    chosen = set(random.Random(SEED).sample(pairs, questions))
    conversations = [
        replace(one, questions=tuple(each for row, each in enumerate(one.questions) if (number, row) in chosen))
        for number, one in enumerate(corpus.conversations)
    ]
    omitted = [*corpus.omitted, f"questions not drawn (--questions), left out: {len(pairs) - questions}"]
    return replace(corpus, conversations=[one for one in conversations if one.questions], omitted=omitted)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="JSON file of conversations, or LongMemEval's")
    parser.add_argument("--questions", type=int, help="measure this many questions, drawn at random (default: all)")
    options = parser.parse_args()
    try:
        corpus = read(options.file)
    except (OSError, ShapeError) as exc:
        sys.exit(f"bench-recall: {exc}")
    if options.questions:
        corpus = sample(corpus, options.questions)
    conversations = corpus.conversations
    memories = sum(len(conversation.turns) for conversation in conversations)
    questions = sum(len(conversation.questions) for conversation in conversations)
    print(f"{len(conversations)} conversations, {memories} memories, {questions} questions")
    for omitted in corpus.omitted:
        print(omitted)
    with tempfile.TemporaryDirectory(prefix="somabrain-bench-") as folder, etcd() as flags:
        print("starting the server with its own PostgreSQL", file=sys.stderr, flush=True)
        settings = {"flags__endpoints": json.dumps([flags.url])}
        with somabrain(["serve", "--embedded", "--data-dir", f"{folder}/data"], settings) as server:
            figure = asyncio.run(measure(server.address, flags, corpus))
    if not corpus.own_haystacks:
        encoded = encode(conversations)
        late_tables.print_tables(encoded)
        print(f"\n| everything without | evidence recall@{K} | by |\n| --- | ---: | --- |")
        for label, recall in ablation.rows(encoded):
            print(f"| {label} | {recall:.3f} | scorer |", flush=True)
    print(f"\nevidence recall@{K} = {figure:.3f}")


if __name__ == "__main__":
    main()
