"""Recall of all questions at the server's defaults, and the scores in their own and in an unrelated conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.conversations import Corpus
from bench.dialogue import Conversation, Question
from bench.recall_variants import DEFAULTS, Questioner, Stored, Variant, store
from bench.retrieval_figures import recall_by_session, recall_by_turn, share_retrieved
from somabrain_client import RecallResult
from somabrain_service.domain.limits import DEFAULT_TOP_K, MAX_TOP_K

K = DEFAULT_TOP_K


@dataclass
class Scores:
    """One kind of score of each question: the best in its own conversation (home), and in an unrelated one (away)."""

    home: list[float] = field(default_factory=list)
    away: list[float] = field(default_factory=list)


@dataclass
class Measurement:
    """Figures of each question: recall by turn and by session at each of `CUTS`, and scores at home and away."""

    questions: list[Question] = field(default_factory=list)
    by_turn: list[list[float]] = field(default_factory=list)
    by_session: list[list[float]] = field(default_factory=list)
    best_match: Scores = field(default_factory=Scores)
    best_lexical: Scores = field(default_factory=Scores)
    best_score: Scores = field(default_factory=Scores)

    def add_scores(self, home: Sequence[RecallResult], away: Sequence[RecallResult]) -> None:
        """Add the scores of answers to the same questions in both conversations."""
        for side, answers in (("home", home), ("away", away)):
            getattr(self.best_match, side).extend(answer.best_match or 0.0 for answer in answers)
            getattr(self.best_lexical, side).extend(answer.best_lexical for answer in answers)
            getattr(self.best_score, side).extend(answer.hits[0].score if answer.hits else 0.0 for answer in answers)


def unrelated(conversations: Sequence[Conversation], number: int) -> int | None:
    """Return the next conversation that contains none of the texts that answer a question of this one, or None."""
    own = conversations[number]
    evidence = {turn for question in own.questions for turn in question.evidence}
    answers = {turn.text for turn in own.turns if turn.id in evidence}
    for step in range(1, len(conversations)):
        other = (number + step) % len(conversations)
        if answers.isdisjoint(turn.text for turn in conversations[other].turns):
            return other
    return None


async def measure_defaults(questioner: Questioner, corpus: Corpus) -> tuple[Measurement, list[Stored]]:
    """Measure all questions at the defaults, and return the stored conversations.

    If each question has its own haystack, each is deleted after its last use, and none is returned.
    """
    conversations = corpus.conversations
    partners = [unrelated(conversations, number) for number in range(len(conversations))]
    last_use = {number: user for user, pair in enumerate(enumerate(partners)) for number in pair if number is not None}
    stored: dict[int, Stored] = {}
    result = Measurement()
    for number, (conversation, partner) in enumerate(zip(conversations, partners, strict=True)):
        for each in (number, partner):
            if each is not None and each not in stored:
                stored[each] = await store(questioner.client, f"default-{each}", conversations[each], DEFAULTS)
        texts = [question.text for question in conversation.questions]
        home = await questioner.recall(stored[number], texts, DEFAULTS, K)
        deep = await questioner.recall(stored[number], texts, DEFAULTS, MAX_TOP_K)
        session = {turn.id: turn.session for turn in conversation.turns}
        for question, first, more in zip(conversation.questions, home, deep, strict=True):
            # The first ten are those that a Recall of ten returns.
            hits = list(dict.fromkeys([*stored[number].hits(first), *stored[number].hits(more)]))
            result.questions.append(question)
            result.by_turn.append(recall_by_turn(question, hits))
            result.by_session.append(recall_by_session(question, hits, session))
        if partner is not None:
            result.add_scores(home, await questioner.recall(stored[partner], texts, DEFAULTS, K))
        if corpus.own_haystacks:
            for each in [each for each in stored if last_use[each] <= number]:
                await questioner.client.delete_namespace(stored.pop(each).namespace)
    return result, [stored[number] for number in sorted(stored)]


async def measure_variant(
    questioner: Questioner, conversations: Sequence[Conversation], stored: Sequence[Stored], variant: Variant
) -> float:
    """Return the evidence recall at `K` of a variant, mean over all questions."""
    recalls: list[float] = []
    for conversation, placed in zip(conversations, stored, strict=True):
        answers = await questioner.recall(placed, [one.text for one in conversation.questions], variant, K)
        recalls.extend(
            share_retrieved(question.evidence, placed.hits(answer))
            for question, answer in zip(conversation.questions, answers, strict=True)
        )
    return sum(recalls) / len(recalls)
