"""Convert recall queries and results from and to protobuf."""

from __future__ import annotations

from somabrain.memory.v1 import memory_pb2, memory_service_pb2
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.names import NamespaceName
from somabrain_service.domain.recall import Hit, RecallQuery, RecallResult
from somabrain_service.servicers.convert.memory import filter_from_proto, memory_to_proto, vector_from_proto


def recall_query_from_proto(request: memory_service_pb2.RecallRequest) -> RecallQuery:
    """Return the recall query.

    Raises:
        InvalidArgument: a field is out of its bound.
    """
    return RecallQuery(
        parent=NamespaceName.parse(request.parent),
        query=request.query,
        vector=vector_from_proto(request),
        top_k=request.top_k,
        filter=filter_from_proto(request.filter) if request.HasField("filter") else MemoryFilter(),
        min_score=request.min_score if request.HasField("min_score") else None,
        consistency_token=request.consistency_token,
        min_match=request.min_match if request.HasField("min_match") else None,
        explain=request.explain,
        page_token=request.page_token,
    )


def recall_result_to_proto(result: RecallResult, *, explain: bool) -> memory_service_pb2.RecallResponse:
    """Return the response; `explain` adds the breakdown of each score."""
    return memory_service_pb2.RecallResponse(
        hits=[_hit_to_proto(hit, explain) for hit in result.hits],
        degraded=[memory_pb2.DegradedReason.ValueType(reason.value) for reason in result.degraded],
        cached=result.cached,
        encoder_id=result.encoder_id,
        consistency_token=result.consistency_token,
        truncated=result.truncated,
        best_lexical=result.best_lexical,
        best_match=result.best_match,
        next_page_token=result.next_page_token,
        state_changed=result.state_changed,
    )


def _hit_to_proto(hit: Hit, explain: bool) -> memory_pb2.RecallHit:
    message = memory_pb2.RecallHit(memory=memory_to_proto(hit.memory), score=hit.score)
    if explain:
        breakdown = hit.breakdown
        message.breakdown.CopyFrom(
            memory_pb2.ScoreBreakdown(
                lexical=breakdown.lexical,
                lexical_relative=breakdown.lexical_relative,
                dense=breakdown.dense,
                contiguity=breakdown.contiguity,
                recency=breakdown.recency,
                salience=breakdown.salience,
                match=breakdown.match,
                meaning=breakdown.meaning,
                question=breakdown.question,
                speaker=breakdown.speaker,
                truncated=breakdown.truncated,
            )
        )
        message.matches.extend(
            memory_pb2.WordMatch(
                query_word=match.query_word, memory_word=match.memory_word, similarity=match.similarity
            )
            for match in hit.matches
        )
    return message
