"""Search index of one namespace. Pure: rows in, candidates out; `manager` loads and updates it.

Every number is the one that PostgreSQL returns for the same state: the same formulas over the same values, in the same
precision, with the same cuts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.ranking.bm25 import K1, B, Postings
from somabrain_service.domain.ranking.contiguity import KERNEL_WIDTH
from somabrain_service.domain.ranking.score import Candidates
from somabrain_service.store.index_source import IndexRows
from somabrain_service.store.records import Search, Statistics
from somabrain_service.store.search_index.columns import NO_ROW, MemoryColumns
from somabrain_service.store.search_index.filters import matching_rows, unix_microseconds
from somabrain_service.store.search_index.postings import InvertedIndex, label_key, session_key, subject_key, term_key
from somabrain_service.store.search_index.quantized_vectors import QuantizedVectors
from somabrain_service.store.search_index.top_k import top_k

NO_SESSION = -1
Rows = NDArray[np.int64]


class SearchIndex:
    """A namespace's memories as of version `as_of`; vectors are those of `encoder_id`. Initially empty."""

    def __init__(self, namespace: Namespace) -> None:
        self.as_of = namespace.read_version
        self.encoder_id = namespace.settings.encoder
        self._analyzer = namespace.analyzer
        self._columns = MemoryColumns()
        self._inverted_index = InvertedIndex()

    @property
    def size_bytes(self) -> int:
        """Approximate size in memory."""
        return self._columns.size_bytes + self._inverted_index.size_bytes

    @property
    def memories(self) -> int:
        """Number of memories, including expired ones."""
        return self._columns.memories

    @property
    def keys(self) -> Iterable[str]:
        """Terms, labels, sessions and subjects in the index, each prefixed with the letter of its kind."""
        return self._inverted_index.keys()

    def can_advance_to(self, namespace: Namespace) -> bool:
        """Return whether the index can advance to `namespace`; another epoch, encoder or analyzer needs a reload."""
        built_from = (self.as_of.epoch, self.encoder_id, self._analyzer)
        return built_from == (namespace.epoch, namespace.settings.encoder, namespace.analyzer)

    def apply(self, changed_ids: Sequence[int], index_rows: IndexRows, as_of: NamespaceVersion) -> None:
        """Advance to version `as_of`: of the memories changed until then, those in `index_rows` still exist."""
        for memory in changed_ids:
            row = self._columns.row(memory)
            if row != NO_ROW:
                self._remove(row)
        self._add(index_rows)
        self.as_of = as_of

    def statistics(self, namespace: Namespace, terms: Sequence[str], now: datetime) -> Statistics:
        """See `Snapshot.statistics`."""
        columns = self._columns
        live = columns.alive & (columns.expire_us > unix_microseconds(now))
        df = [int(np.count_nonzero(live[self._inverted_index.rows(term_key(term))])) for term in terms]
        return Statistics(
            namespace=namespace,
            memories=int(np.count_nonzero(live)),
            term_occurrences=int(columns.doc_length[live].sum(dtype=np.int64)),
            vectors=int(np.count_nonzero(live & columns.has_vector)),
            df=tuple(df),
        )

    def candidates(self, search: Search, now: datetime) -> Candidates:
        """See `Snapshot.candidates`."""
        columns = self._columns
        mask = matching_rows(search.filter, columns, self._inverted_index, now)
        is_seed = np.zeros(columns.rows, np.bool_)
        if search.seeds:
            is_seed[self._lexical_top_k(search, mask)] = True
        query = None if search.vector is None else QuantizedVectors.quantize(search.vector[np.newaxis])
        if query is not None:
            is_seed[self._dense_top_k(query, np.flatnonzero(mask & columns.has_current_vector), search)] = True
        pool = self._pool(np.flatnonzero(is_seed), mask)
        return Candidates(
            ids=columns.ids[pool],
            seeds=is_seed[pool],
            session=columns.session[pool].astype(np.int64),
            position=columns.position[pool],
            event_time_s=columns.event_us[pool] / 1e6,
            salience=columns.salience[pool],
            doc_length=columns.doc_length[pool].astype(np.float64),
            postings=self._postings(search.terms, pool),
            cosine=None if query is None else self._cosines(query, pool),
        )

    def _lexical_top_k(self, search: Search, mask: NDArray[np.bool_]) -> Rows:
        """Return the top rows by words."""
        columns = self._columns
        score = np.zeros(columns.rows)
        for i in search.seeds:
            rows, tf = self._inverted_index.postings(term_key(search.terms[i]))
            norm = K1 * (1 - B + B * columns.doc_length[rows] / search.mean_length)
            score[rows] += search.idf[i] * tf * (K1 + 1) / (tf + norm)
        matches = np.flatnonzero((score > 0) & mask)
        return matches[top_k(np.rint(score[matches] * 1e6), columns.ids[matches], search.limit)]

    def _dense_top_k(self, query: QuantizedVectors, rows: Rows, search: Search) -> Rows:
        """Return the top of `rows`, all of which have vectors, by vector."""
        if len(rows) > search.limit:
            low, high = self._columns.quantized.cosine_bounds(query)
            threshold = np.partition(low[rows], len(rows) - search.limit)[len(rows) - search.limit]
            rows = rows[high[rows] >= threshold]
        if not len(rows):
            return rows
        distance = self._columns.quantized[rows].distances(query)
        return rows[top_k(-distance, self._columns.ids[rows], search.limit)]

    def _cosines(self, query: QuantizedVectors, rows: Rows) -> NDArray[np.float64]:
        """Return the cosines of rows; 0 without a vector."""
        cosine = np.zeros(len(rows))
        encoded = self._columns.has_current_vector[rows]
        if encoded.any():
            cosine[encoded] = 1 - self._columns.quantized[rows[encoded]].distances(query)
        return cosine

    def _pool(self, seeds: Rows, mask: NDArray[np.bool_]) -> Rows:
        """Return the seeds and the rows within twice the reach of one in its session, sorted by id."""
        columns = self._columns
        in_pool = np.zeros(columns.rows, np.bool_)
        in_pool[seeds] = True
        for neighbour in (columns.previous_row, columns.next_row):
            current, position = seeds.astype(np.int32), columns.position[seeds]
            for _ in range(2 * KERNEL_WIDTH):
                current = neighbour[current]
                within = current != NO_ROW
                within &= np.abs(columns.position[current] - position) <= 2 * KERNEL_WIDTH
                current, position = current[within], position[within]
                if not len(current):
                    break
                in_pool[current] = True
        rows = np.flatnonzero(in_pool & mask)
        return rows[np.argsort(columns.ids[rows])]

    def _postings(self, terms: tuple[str, ...], pool: Rows) -> Postings:
        """Return the postings of the terms in the pool."""
        pool_position = np.full(self._columns.rows, NO_ROW)
        pool_position[pool] = np.arange(len(pool))
        row, term, tf = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
        for number, name in enumerate(terms):
            rows, frequencies = self._inverted_index.postings(term_key(name))
            positions = pool_position[rows]
            in_pool = positions != NO_ROW
            row.append(positions[in_pool])
            term.append(np.full(len(row[-1]), number))
            tf.append(frequencies[in_pool].astype(np.float64))
        return Postings(np.concatenate(row), np.concatenate(term), np.concatenate(tf))

    def _add(self, index_rows: IndexRows) -> None:
        columns, inverted_index = self._columns, self._inverted_index
        rows = columns.allocate_rows(len(index_rows.rows))
        rows_by_key: defaultdict[str, list[int]] = defaultdict(list)
        for row, memory in zip(rows, index_rows.rows, strict=True):
            rows_by_key[session_key(memory.session)].append(row)
            rows_by_key[subject_key(memory.subject)].append(row)
            for key, value in memory.labels.items():
                rows_by_key[label_key(key, value)].append(row)
        posted_rows, posted_key_ids = [], []
        for name, keyed_rows in rows_by_key.items():
            key_rows = np.array(keyed_rows, np.int32)
            posted_rows.append(key_rows)
            posted_key_ids.append(np.full(len(key_rows), inverted_index.add(name, key_rows), np.int32))
        for row, memory in zip(rows, index_rows.rows, strict=True):
            session = inverted_index.key_id(session_key(memory.session)) if memory.session else NO_SESSION
            columns.put(row, memory, session)
        sorted_rows = np.array(rows, np.int32)
        ids = np.array([memory.id for memory in index_rows.rows], np.int64)
        order = np.argsort(ids)
        sorted_rows, ids = sorted_rows[order], ids[order]
        for posting in index_rows.terms:
            key_rows = sorted_rows[np.searchsorted(ids, posting.memories)]
            posted_rows.append(key_rows)
            key_id = inverted_index.add(term_key(posting.term), key_rows, posting.tf)
            posted_key_ids.append(np.full(len(key_rows), key_id, np.int32))
        if posted_rows:
            inverted_index.record_keys(np.concatenate(posted_rows), np.concatenate(posted_key_ids))
        if len(index_rows.encoded):
            columns.set_vectors(
                sorted_rows[np.searchsorted(ids, index_rows.encoded)].astype(np.int64), index_rows.vectors
            )
        columns.has_vector[sorted_rows[np.searchsorted(ids, index_rows.other_vectors)]] = True
        for name, keyed_rows in rows_by_key.items():
            if name.startswith(session_key("")) and name != session_key(""):
                self._link_neighbours(name, keyed_rows)

    def _remove(self, row: int) -> None:
        columns = self._columns
        previous_row, next_row = int(columns.previous_row[row]), int(columns.next_row[row])
        if previous_row != NO_ROW:
            columns.next_row[previous_row] = next_row
        if next_row != NO_ROW:
            columns.previous_row[next_row] = previous_row
        self._inverted_index.remove(row)
        columns.free_row(row)

    def _link_neighbours(self, session: str, new_rows: Sequence[int]) -> None:
        """Link new rows, which are already in the inverted index, with their neighbours in the session."""
        columns = self._columns
        rows = self._inverted_index.rows(session)
        position = columns.position[rows]
        if len(new_rows) > 1:
            ordered = rows[np.argsort(position)]
            columns.previous_row[ordered[1:]], columns.next_row[ordered[:-1]] = ordered[:-1], ordered[1:]
            columns.previous_row[ordered[0]] = columns.next_row[ordered[-1]] = NO_ROW
            return
        (row,) = new_rows
        lower, higher = position < columns.position[row], position > columns.position[row]
        if lower.any():
            previous_row = rows[lower][np.argmax(position[lower])]
            columns.previous_row[row], columns.next_row[previous_row] = previous_row, row
        if higher.any():
            next_row = rows[higher][np.argmin(position[higher])]
            columns.next_row[row], columns.previous_row[next_row] = next_row, row
