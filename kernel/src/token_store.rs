//! Token vectors of an index's rows, and other facts about their texts.

use std::collections::HashSet;
use std::sync::Arc;

use crate::growth;

/// A memory's token vectors, as `somabrain_service.store.index_source.TokenRow`.
#[derive(Clone, Debug)]
pub struct TokenRow {
    pub memory: i64,
    pub data: Box<[u8]>,
    pub truncated: bool,
    pub questions: f64,
    pub speaker: String,
}

/// A row's token vectors.
pub struct Tokens {
    pub data: Box<[u8]>,
    pub speaker: Arc<str>,
    pub questions: f64,
    pub truncated: bool,
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

    pub fn get(&self, row: u32) -> Option<&Tokens> {
        self.rows.get(row as usize)?.as_ref()
    }

    pub fn size_bytes(&self) -> usize {
        let names: usize = self.speakers.iter().map(|name| name.len() + 32).sum();
        let hash_table = self.speakers.capacity() * (size_of::<Arc<str>>() + 1) * 8 / 7;
        growth::bytes(&self.rows) + self.allocated_bytes + names + hash_table
    }
}
