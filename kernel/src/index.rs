//! The index of one namespace: its memories as of one version. Initially empty.

use crate::columns::{Columns, Counts, Fields, NO_SESSION};
use crate::keys::Keys;
use crate::labels::Labels;
use crate::postings::{self, InvertedIndex, Posting};
use crate::sessions::Sessions;
use crate::shared_scans::SharedScans;
use crate::token_store::TokenStore;
use crate::vectors::QuantizedVectors;

/// A memory without its text. Times are in microseconds since 1970; `expire_us` is `columns::NEVER` if it does not
/// expire.
#[derive(Clone, Debug)]
pub struct MemoryRow {
    pub id: i64,
    pub kind: i16,
    pub session: String,
    pub position: i64,
    pub subject: String,
    pub labels: Vec<(String, String)>,
    pub event_us: i64,
    pub create_us: i64,
    pub expire_us: i64,
    pub salience: f64,
    pub pinned: bool,
    pub doc_length: u32,
    /// Empty: no key.
    pub key: String,
}

/// A term, the ids of the memories with it, and its frequency in each.
#[derive(Clone, Debug)]
pub struct TermPostings {
    pub term: String,
    pub memories: Vec<i64>,
    pub tf: Vec<u16>,
}

/// Memories of one snapshot, as `somabrain_service.store.index_source.IndexRows`: `vectors` has those of `encoded`,
/// one after the other.
#[derive(Clone, Debug, Default)]
pub struct IndexRows {
    pub rows: Vec<MemoryRow>,
    pub terms: Vec<TermPostings>,
    pub encoded: Vec<i64>,
    pub vectors: Vec<f32>,
    pub other_vectors: Vec<i64>,
}

#[derive(Default)]
pub struct Index {
    pub columns: Columns,
    pub inverted_index: InvertedIndex,
    pub sessions: Sessions,
    pub keys: Keys,
    pub labels: Labels,
    pub vectors: QuantizedVectors,
    pub tokens: TokenStore,
    pub shared_scans: SharedScans,
}

impl Index {
    /// Removes the memories with these ids, then adds `index_rows`.
    pub fn apply(&mut self, changed_ids: &[i64], index_rows: IndexRows) {
        let added = index_rows.rows.iter().map(|memory| memory.id);
        let mut removed: Vec<u32> =
            changed_ids.iter().copied().chain(added).filter_map(|id| self.columns.row(id)).collect();
        removed.sort_unstable();
        removed.dedup();
        self.remove(&removed);
        self.add(index_rows);
    }

    /// Returns the counts of live memories, and the document frequency of each term.
    pub fn statistics(&self, terms: &[String], now_us: i64) -> (Counts, Vec<usize>) {
        let keys: Vec<Option<u32>> =
            terms.iter().map(|term| self.inverted_index.key_id(&postings::term_key(term))).collect();
        let mut df: Vec<usize> =
            keys.iter().map(|key| key.map_or(0, |key| self.inverted_index.postings(key).len())).collect();
        for row in self.columns.expired(now_us) {
            for entry in self.inverted_index.keys_of(row) {
                let of_row = entry.key;
                for (key, count) in keys.iter().zip(&mut df) {
                    *count -= usize::from(*key == Some(of_row));
                }
            }
        }
        (self.columns.counts(now_us), df)
    }

    /// Returns the terms, labels, sessions, subjects and keys of all memories, each after the letter of its kind.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.inverted_index.names().map(str::to_owned).collect();
        keys.extend(self.sessions.names().map(|name| format!("s{name}")));
        keys.extend(self.labels.names().map(|(label, value)| format!("l{label}\0{value}")));
        keys.extend(self.keys.names().map(|name| format!("k{name}")));
        keys.extend((self.columns.without_session > 0).then(|| "s".to_owned()));
        keys.extend((self.columns.without_subject > 0).then(|| "u".to_owned()));
        keys
    }

    /// Returns the size without token vectors.
    pub fn size_bytes(&self) -> usize {
        self.columns.size_bytes()
            + self.inverted_index.size_bytes()
            + self.sessions.size_bytes()
            + self.keys.size_bytes()
            + self.labels.size_bytes()
            + self.vectors.size_bytes()
    }

    fn remove(&mut self, rows: &[u32]) {
        self.inverted_index.remove(rows);
        for &row in rows {
            let session = self.columns.fields[row as usize].session;
            if session != NO_SESSION {
                self.sessions.remove(session, row, &self.columns.fields);
            }
            self.keys.remove(row);
            self.labels.remove(row);
            self.columns.remove(row);
            self.vectors.clear(row);
            self.tokens.remove(row);
        }
    }

    fn add(&mut self, index_rows: IndexRows) {
        self.columns.reserve(index_rows.rows.len());
        let mut entries: std::collections::HashMap<String, Vec<Posting>> = std::collections::HashMap::new();
        let mut in_sessions: Vec<(u32, u32)> = Vec::new();
        for memory in &index_rows.rows {
            let session = if memory.session.is_empty() { NO_SESSION } else { self.sessions.number(&memory.session) };
            let fields = Fields {
                id: memory.id,
                position: memory.position,
                event_us: memory.event_us,
                create_us: memory.create_us,
                expire_us: memory.expire_us,
                salience: memory.salience,
                session,
                kind: memory.kind,
                pinned: memory.pinned,
                has_subject: !memory.subject.is_empty(),
            };
            let row = self.columns.add(fields, memory.doc_length);
            if session != NO_SESSION {
                in_sessions.push((session, row));
            }
            if !memory.key.is_empty() {
                self.keys.add(&memory.key, row);
            }
            if fields.has_subject {
                entries.entry(postings::subject_key(&memory.subject)).or_default().push(Posting { row, tf: 1 });
            }
            self.labels.add(row, &memory.labels);
        }
        in_sessions.sort_unstable();
        for of_session in in_sessions.chunk_by(|one, other| one.0 == other.0) {
            let rows: Vec<u32> = of_session.iter().map(|&(_, row)| row).collect();
            self.sessions.add(of_session[0].0, &rows, &self.columns.fields);
        }
        let mut entries: Vec<(String, Vec<Posting>)> = entries.into_iter().collect();
        for term in index_rows.terms {
            let found = term.memories.iter().zip(&term.tf);
            let new = found.filter_map(|(&id, &tf)| Some(Posting { row: self.columns.row(id)?, tf })).collect();
            entries.push((postings::term_key(&term.term), new));
        }
        self.inverted_index.add(entries, self.columns.rows());
        self.set_vectors(&index_rows.encoded, &index_rows.vectors);
        for row in index_rows.other_vectors.iter().filter_map(|&id| self.columns.row(id)).collect::<Vec<_>>() {
            self.columns.set_vector(row, false);
        }
    }

    fn set_vectors(&mut self, ids: &[i64], vectors: &[f32]) {
        let dimensions = if ids.is_empty() { 0 } else { vectors.len() / ids.len() };
        if dimensions == 0 {
            return;
        }
        if dimensions != self.vectors.dimensions() {
            self.columns.has_current_vector.clear();
        }
        self.vectors.resize(self.columns.rows(), dimensions);
        for (&id, vector) in ids.iter().zip(vectors.chunks_exact(dimensions)) {
            if let Some(row) = self.columns.row(id) {
                self.vectors.set(row, vector);
                self.columns.set_vector(row, true);
            }
        }
    }
}
