"""Questions and answers: from protobuf and back."""

from __future__ import annotations

from somabrain.memory.v1 import memory_pb2, memory_service_pb2
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.names import NamespaceName
from somabrain_service.domain.recall import Hit, RecallQuery, RecallResult
from somabrain_service.servicers.memories import read_filter, read_vector, write_memory


def read_query(request: memory_service_pb2.RecallRequest) -> RecallQuery:
    """Return what is sought.

    Raises:
        InvalidArgument: a field is out of its bound.
    """
    return RecallQuery(
        parent=NamespaceName.parse(request.parent),
        query=request.query,
        vector=read_vector(request),
        top_k=request.top_k,
        filter=read_filter(request.filter) if request.HasField("filter") else MemoryFilter(),
        min_score=request.min_score if request.HasField("min_score") else None,
        consistency_token=request.consistency_token,
    )


def write_answer(answer: RecallResult, *, explain: bool) -> memory_service_pb2.RecallResponse:
    """Return the answer; `explain` adds how each score came to be."""
    return memory_service_pb2.RecallResponse(
        hits=[_write_hit(hit, explain) for hit in answer.hits],
        degraded=[memory_pb2.DegradedReason.ValueType(reason.value) for reason in answer.degraded],
        cached=answer.cached,
        encoder_id=answer.encoder_id,
        consistency_token=answer.consistency_token,
        truncated=answer.truncated,
        best_lexical=answer.best_lexical,
    )


def _write_hit(hit: Hit, explain: bool) -> memory_pb2.RecallHit:
    message = memory_pb2.RecallHit(memory=write_memory(hit.memory), score=hit.score)
    if explain:
        part = hit.breakdown
        message.breakdown.CopyFrom(
            memory_pb2.ScoreBreakdown(
                lexical=part.lexical,
                lexical_relative=part.lexical_relative,
                dense=part.dense,
                contiguity=part.contiguity,
                recency=part.recency,
                salience=part.salience,
            )
        )
    return message
