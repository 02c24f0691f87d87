//! Token vectors of an index's rows, and what else is known of their texts.

use std::collections::HashSet;
use std::sync::Arc;

use crate::columns::NO_SESSION;
use crate::growth;
use crate::index::Index;
use crate::tokens::QueryTokens;

/// A memory's token vectors, as `somabrain_service.store.index_source.TokenRow`.
#[derive(Clone, Debug)]
pub struct TokenRow {
    pub memory: i64,
    pub data: Box<[u8]>,
    pub truncated: bool,
    pub questions: f64,
    pub speaker: String,
}

struct Tokens {
    data: Box<[u8]>,
    speaker: Arc<str>,
    questions: f64,
    truncated: bool,
}

/// `is_complete`: every row that has token vectors has them here.
#[derive(Default)]
pub struct TokenStore {
    rows: Vec<Option<Tokens>>,
    speakers: HashSet<Arc<str>>,
    allocated_bytes: usize,
    pub is_complete: bool,
}

/// References to a speaker's name by the set of speakers and by one row.
const REFERENCES_OF_LAST_ROW: usize = 2;

/// Bytes that an allocator takes for a buffer of this length.
fn allocated_bytes(len: usize) -> usize {
    if len == 0 { 0 } else { (len + 8).next_multiple_of(16) }
}

impl TokenStore {
    /// Writes the token vectors of a row.
    pub fn set(&mut self, row: u32, tokens: TokenRow) {
        self.remove(row);
        let row = row as usize;
        if row >= self.rows.len() {
            let missing = row + 1 - self.rows.len();
            growth::reserve(&mut self.rows, missing);
            self.rows.resize_with(row + 1, || None);
        }
        self.allocated_bytes += allocated_bytes(tokens.data.len());
        let speaker = self.speaker(&tokens.speaker);
        let TokenRow { data, truncated, questions, .. } = tokens;
        self.rows[row] = Some(Tokens { data, speaker, questions, truncated });
    }

    /// Removes the token vectors of a row, if it has them.
    pub fn remove(&mut self, row: u32) {
        if let Some(tokens) = self.rows.get_mut(row as usize).and_then(Option::take) {
            self.allocated_bytes -= allocated_bytes(tokens.data.len());
            if Arc::strong_count(&tokens.speaker) == REFERENCES_OF_LAST_ROW {
                self.speakers.remove(&tokens.speaker);
            }
        }
    }

    /// Returns the name of a speaker, the same for all rows.
    fn speaker(&mut self, name: &str) -> Arc<str> {
        if let Some(speaker) = self.speakers.get(name) {
            return speaker.clone();
        }
        let speaker: Arc<str> = name.into();
        self.speakers.insert(speaker.clone());
        speaker
    }

    fn get(&self, row: u32) -> Option<&Tokens> {
        self.rows.get(row as usize)?.as_ref()
    }

    pub fn size_bytes(&self) -> usize {
        let names: usize = self.speakers.iter().map(|name| name.len() + 32).sum();
        let hash_table = self.speakers.capacity() * (size_of::<Arc<str>>() + 1) * 8 / 7;
        growth::bytes(&self.rows) + self.allocated_bytes + names + hash_table
    }
}

/// Rows of a shortlist, as `somabrain_service.domain.ranking.late_interaction.Shortlist`.
#[derive(Default)]
pub struct Shortlist {
    /// A row for each piece of the query, a column for each memory.
    pub similarity: Vec<f64>,
    /// Whether the memory has token vectors that were compared.
    pub compared: Vec<bool>,
    pub session: Vec<i64>,
    pub position: Vec<i64>,
    pub event_time_s: Vec<f64>,
    pub questions: Vec<f64>,
    pub speakers: Vec<Arc<str>>,
    pub truncated: Vec<bool>,
    /// Whether some of the memories have no token vectors yet.
    pub missing: bool,
}

/// A memory that a shortlist cannot have.
#[derive(Debug, PartialEq, Eq)]
pub enum ShortlistError {
    Missing(i64),
    OtherWidth(i64),
}

impl Index {
    /// Writes token vectors of those of the memories that are in the index.
    pub fn set_tokens(&mut self, rows: Vec<TokenRow>) {
        for tokens in rows {
            if let Some(row) = self.columns.row(tokens.memory) {
                self.tokens.set(row, tokens);
            }
        }
    }

    /// Returns the memories, and compares them in their order until `max_bytes` of token vectors are, and the first in
    /// any case.
    pub fn shortlist(&self, ids: &[i64], query: &QueryTokens, max_bytes: usize) -> Result<Shortlist, ShortlistError> {
        let mut shortlist = Shortlist::default();
        let (mut texts, mut bytes): (Vec<&[u8]>, usize) = (Vec::new(), 0);
        let unknown: Arc<str> = "".into();
        for &id in ids {
            let row = self.columns.row(id).ok_or(ShortlistError::Missing(id))?;
            let tokens = self.tokens.get(row);
            shortlist.missing |= tokens.is_none();
            let data = tokens.map_or(&[][..], |tokens| &tokens.data);
            bytes += data.len();
            let data = if texts.is_empty() || bytes <= max_bytes { data } else { &[] };
            texts.push(data);
            let fields = &self.columns.fields[row as usize];
            shortlist.compared.push(!data.is_empty());
            shortlist.session.push(if fields.session == NO_SESSION { -1 } else { i64::from(fields.session) });
            shortlist.position.push(fields.position);
            shortlist.event_time_s.push(fields.event_us as f64 / 1e6);
            shortlist.questions.push(tokens.map_or(0.0, |tokens| tokens.questions));
            shortlist.speakers.push(tokens.map_or(&unknown, |tokens| &tokens.speaker).clone());
            shortlist.truncated.push(tokens.is_some_and(|tokens| tokens.truncated));
        }
        let other_width = |number: usize| ShortlistError::OtherWidth(ids[number]);
        shortlist.similarity = query.max_similarities(&texts).map_err(other_width)?;
        Ok(shortlist)
    }
}
