"""One namespace in memory. Pure: rows in, candidates out; who fills it and when is `replicas`' business.

Every number it gives is the one that PostgreSQL gives for the same state: the same formulas over the same values, in
the same precision, cut at the same places.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.contiguity import REACH
from somabrain_service.domain.lexical import K1, B, Postings
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.scoring import Candidates
from somabrain_service.domain.tokens import Moment
from somabrain_service.store.records import Search, Statistics
from somabrain_service.store.replica.best import best
from somabrain_service.store.replica.index import Index, label_key, session_key, subject_key, term_key
from somabrain_service.store.replica.planes import Planes
from somabrain_service.store.replica.portion import Portion
from somabrain_service.store.replica.scope import inside, microseconds
from somabrain_service.store.replica.table import NO_ROW, Table

NO_SESSION = -1
Rows = NDArray[np.int64]


class Replica:
    """A namespace's memories as of `moment`; vectors are those of `encoder_id`. Made empty."""

    def __init__(self, namespace: Namespace) -> None:
        self.moment = namespace.moment
        self.encoder_id = namespace.settings.encoder
        self._analyzer = namespace.analyzer
        self._table = Table()
        self._index = Index()

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, about."""
        return self._table.size_bytes + self._index.size_bytes

    @property
    def memories(self) -> int:
        """How many there are, with those that have expired."""
        return self._table.memories

    @property
    def keys(self) -> Iterable[str]:
        """Terms, labels, sessions and subjects that it knows, each behind the letter of its kind."""
        return self._index.keys()

    def suits(self, namespace: Namespace) -> bool:
        """Whether it may go on to the namespace as it is now: other words or other vectors are loaded anew."""
        made = (self.moment.epoch, self.encoder_id, self._analyzer)
        return made == (namespace.epoch, namespace.settings.encoder, namespace.analyzer)

    def apply(self, changed: Sequence[int], portion: Portion, moment: Moment) -> None:
        """Go on to `moment`: of the memories that changed until then, those in the portion are there."""
        for memory in changed:
            row = self._table.row(memory)
            if row != NO_ROW:
                self._remove(row)
        self._add(portion)
        self.moment = moment

    def statistics(self, namespace: Namespace, terms: Sequence[str], now: datetime) -> Statistics:
        """See `Reading.statistics`."""
        table = self._table
        live = table.alive & (table.expire_us > microseconds(now))
        df = [int(np.count_nonzero(live[self._index.rows(term_key(term))])) for term in terms]
        return Statistics(
            namespace=namespace,
            memories=int(np.count_nonzero(live)),
            term_occurrences=int(table.length[live].sum(dtype=np.int64)),
            vectors=int(np.count_nonzero(live & table.vector)),
            df=tuple(df),
        )

    def candidates(self, search: Search, now: datetime) -> Candidates:
        """See `Reading.candidates`."""
        table = self._table
        meant = inside(search.filter, table, self._index, now)
        seed = np.zeros(table.rows, np.bool_)
        if search.seeds:
            seed[self._lexical(search, meant)] = True
        query = None if search.vector is None else Planes.of(search.vector[np.newaxis])
        if query is not None:
            seed[self._nearest(query, np.flatnonzero(meant & table.encoded), search)] = True
        pool = self._pool(np.flatnonzero(seed), meant)
        return Candidates(
            ids=table.ids[pool],
            seeds=seed[pool],
            session=table.session[pool].astype(np.int64),
            position=table.position[pool],
            event_time_s=table.event_us[pool] / 1e6,
            salience=table.salience[pool],
            length=table.length[pool].astype(np.float64),
            postings=self._postings(search.terms, pool),
            cosine=None if query is None else self._cosines(query, pool),
        )

    def _lexical(self, search: Search, meant: NDArray[np.bool_]) -> Rows:
        """The best rows by words."""
        table = self._table
        score = np.zeros(table.rows)
        for i in search.seeds:
            rows, tf = self._index.postings(term_key(search.terms[i]))
            norm = K1 * (1 - B + B * table.length[rows] / search.mean_length)
            score[rows] += search.idf[i] * tf * (K1 + 1) / (tf + norm)
        found = np.flatnonzero((score > 0) & meant)
        return found[best(np.rint(score[found] * 1e6), table.ids[found], search.limit)]

    def _nearest(self, query: Planes, rows: Rows, search: Search) -> Rows:
        """The best of the rows, which have vectors, by vector."""
        if len(rows) > search.limit:
            low, high = self._table.planes.bounds(query)
            least = np.partition(low[rows], len(rows) - search.limit)[len(rows) - search.limit]
            rows = rows[high[rows] >= least]
        if not len(rows):
            return rows
        distance = self._table.planes[rows].distances(query)
        return rows[best(-distance, self._table.ids[rows], search.limit)]

    def _cosines(self, query: Planes, rows: Rows) -> NDArray[np.float64]:
        """Cosines of rows; 0 where there is no vector."""
        cosine = np.zeros(len(rows))
        encoded = self._table.encoded[rows]
        if encoded.any():
            cosine[encoded] = 1 - self._table.planes[rows[encoded]].distances(query)
        return cosine

    def _pool(self, seeds: Rows, meant: NDArray[np.bool_]) -> Rows:
        """The seeds and what is within twice the reach of one in its session, by id."""
        table = self._table
        near = np.zeros(table.rows, np.bool_)
        near[seeds] = True
        for step in (table.before, table.after):
            at, place = seeds.astype(np.int32), table.position[seeds]
            for _ in range(2 * REACH):
                at = step[at]
                within = at != NO_ROW
                within &= np.abs(table.position[at] - place) <= 2 * REACH
                at, place = at[within], place[within]
                if not len(at):
                    break
                near[at] = True
        rows = np.flatnonzero(near & meant)
        return rows[np.argsort(table.ids[rows])]

    def _postings(self, terms: tuple[str, ...], pool: Rows) -> Postings:
        """Where the terms occur in the pool."""
        place = np.full(self._table.rows, NO_ROW)
        place[pool] = np.arange(len(pool))
        row, term, tf = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
        for number, name in enumerate(terms):
            rows, times = self._index.postings(term_key(name))
            there = place[rows]
            here = there != NO_ROW
            row.append(there[here])
            term.append(np.full(len(row[-1]), number))
            tf.append(times[here].astype(np.float64))
        return Postings(np.concatenate(row), np.concatenate(term), np.concatenate(tf))

    def _add(self, portion: Portion) -> None:
        table, index = self._table, self._index
        rows = table.take_rows(len(portion.fields))
        keyed: defaultdict[str, list[int]] = defaultdict(list)
        for row, memory in zip(rows, portion.fields, strict=True):
            keyed[session_key(memory.session)].append(row)
            keyed[subject_key(memory.subject)].append(row)
            for key, value in memory.labels.items():
                keyed[label_key(key, value)].append(row)
        bound_rows, bound_numbers = [], []
        for name, having in keyed.items():
            these = np.array(having, np.int32)
            bound_rows.append(these)
            bound_numbers.append(np.full(len(these), index.add(name, these), np.int32))
        for row, memory in zip(rows, portion.fields, strict=True):
            session = index.number(session_key(memory.session)) if memory.session else NO_SESSION
            table.put(row, memory, session)
        at = np.array(rows, np.int32)
        ids = np.array([memory.id for memory in portion.fields], np.int64)
        order = np.argsort(ids)
        at, ids = at[order], ids[order]
        for posting in portion.terms:
            these = at[np.searchsorted(ids, posting.memories)]
            bound_rows.append(these)
            number = index.add(term_key(posting.term), these, posting.tf)
            bound_numbers.append(np.full(len(these), number, np.int32))
        if bound_rows:
            index.bind(np.concatenate(bound_rows), np.concatenate(bound_numbers))
        if len(portion.encoded):
            table.keep_vectors(at[np.searchsorted(ids, portion.encoded)].astype(np.int64), portion.vectors)
        table.vector[at[np.searchsorted(ids, portion.other_vectors)]] = True
        for name, having in keyed.items():
            if name.startswith(session_key("")) and name != session_key(""):
                self._link(name, having)

    def _remove(self, row: int) -> None:
        table = self._table
        before, after = int(table.before[row]), int(table.after[row])
        if before != NO_ROW:
            table.after[before] = after
        if after != NO_ROW:
            table.before[after] = before
        self._index.remove(row)
        table.drop(row)

    def _link(self, session: str, fresh: Sequence[int]) -> None:
        """Put fresh rows, which are in the index already, between their neighbours in the session."""
        table = self._table
        rows = self._index.rows(session)
        position = table.position[rows]
        if len(fresh) > 1:
            ordered = rows[np.argsort(position)]
            table.before[ordered[1:]], table.after[ordered[:-1]] = ordered[:-1], ordered[1:]
            table.before[ordered[0]] = table.after[ordered[-1]] = NO_ROW
            return
        (row,) = fresh
        lower, higher = position < table.position[row], position > table.position[row]
        if lower.any():
            before = rows[lower][np.argmax(position[lower])]
            table.before[row], table.after[before] = before, row
        if higher.any():
            after = rows[higher][np.argmin(position[higher])]
            table.after[row], table.before[after] = after, row
