//! The numbers and flags of memories that filters and the scorer use; a row is stable while its memory exists.

use std::collections::{BTreeSet, HashMap};

use crate::bitmap::Bitmap;
use crate::growth;

/// Expiry of a memory that does not expire.
pub const NEVER: i64 = i64::MAX;
pub const NO_SESSION: u32 = u32::MAX;

/// A row's fields; one cache line. Times are in microseconds since 1970.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub struct Fields {
    pub id: i64,
    pub position: i64,
    pub event_us: i64,
    pub create_us: i64,
    pub expire_us: i64,
    pub salience: f64,
    /// Number of the session in `Sessions`, or NO_SESSION.
    pub session: u32,
    pub kind: i16,
    pub pinned: bool,
    pub has_subject: bool,
}

/// Columns over rows, of which some may be free.
///
/// `has_vector`: of any encoder; `has_current_vector`: of the namespace's encoder.
#[derive(Default)]
pub struct Columns {
    pub fields: Vec<Fields>,
    /// Number of terms; apart from the other fields, because each posting of a query needs it.
    pub doc_length: Vec<u32>,
    pub live: Bitmap,
    pub has_vector: Bitmap,
    pub has_current_vector: Bitmap,
    /// Number of memories without a session.
    pub without_session: usize,
    pub without_subject: usize,
    term_occurrences: u64,
    vectors: usize,
    row_of: HashMap<i64, u32>,
    free_rows: Vec<u32>,
    /// Expiry and row of the memories that expire.
    expiring: BTreeSet<(i64, u32)>,
}

/// Counts of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub memories: usize,
    pub term_occurrences: u64,
    pub vectors: usize,
}

impl Columns {
    /// Number of rows, free ones included.
    pub fn rows(&self) -> usize {
        self.fields.len()
    }

    /// Number of memories, including expired ones.
    pub fn memories(&self) -> usize {
        self.row_of.len()
    }

    pub fn row(&self, id: i64) -> Option<u32> {
        self.row_of.get(&id).copied()
    }

    /// Makes room for `count` more memories.
    pub fn reserve(&mut self, count: usize) {
        let appended = count.saturating_sub(self.free_rows.len());
        growth::reserve(&mut self.fields, appended);
        growth::reserve(&mut self.doc_length, appended);
    }

    /// Adds a memory without a vector, and returns its row.
    pub fn add(&mut self, fields: Fields, doc_length: u32) -> u32 {
        let row = self.free_rows.pop().unwrap_or_else(|| {
            growth::push(&mut self.fields, Fields::default());
            growth::push(&mut self.doc_length, 0);
            for rows in [&mut self.live, &mut self.has_vector, &mut self.has_current_vector] {
                rows.extend_to(self.fields.len());
            }
            self.fields.len() as u32 - 1
        });
        self.fields[row as usize] = fields;
        self.doc_length[row as usize] = doc_length;
        self.live.insert(row);
        self.row_of.insert(fields.id, row);
        self.term_occurrences += u64::from(doc_length);
        self.without_session += usize::from(fields.session == NO_SESSION);
        self.without_subject += usize::from(!fields.has_subject);
        if fields.expire_us != NEVER {
            self.expiring.insert((fields.expire_us, row));
        }
        row
    }

    /// Records that a row has a vector; `current`: of the namespace's encoder.
    pub fn set_vector(&mut self, row: u32, current: bool) {
        self.vectors += usize::from(!self.has_vector.get(row));
        self.has_vector.insert(row);
        if current {
            self.has_current_vector.insert(row);
        }
    }

    /// Deletes the memory at a row, and frees the row.
    pub fn remove(&mut self, row: u32) {
        let fields = self.fields[row as usize];
        self.row_of.remove(&fields.id);
        self.expiring.remove(&(fields.expire_us, row));
        self.term_occurrences -= u64::from(self.doc_length[row as usize]);
        self.vectors -= usize::from(self.has_vector.get(row));
        self.without_session -= usize::from(fields.session == NO_SESSION);
        self.without_subject -= usize::from(!fields.has_subject);
        for rows in [&mut self.live, &mut self.has_vector, &mut self.has_current_vector] {
            rows.remove(row);
        }
        self.fields[row as usize] = Fields::default();
        self.doc_length[row as usize] = 0;
        growth::push(&mut self.free_rows, row);
    }

    /// Changes the expiry of a row.
    pub fn set_expiry(&mut self, row: u32, expire_us: i64) {
        let fields = &mut self.fields[row as usize];
        self.expiring.remove(&(fields.expire_us, row));
        fields.expire_us = expire_us;
        if expire_us != NEVER {
            self.expiring.insert((expire_us, row));
        }
    }

    /// Yields the ids of memories whose expiry is after the first of the times, and not after the second.
    pub fn expired_between(&self, after_us: i64, until_us: i64) -> impl Iterator<Item = i64> + '_ {
        let after = std::ops::Bound::Excluded((after_us, u32::MAX));
        let until = std::ops::Bound::Included((until_us.max(after_us), u32::MAX));
        let rows = (after_us < until_us).then(|| self.expiring.range((after, until)));
        rows.into_iter().flatten().map(|&(_, row)| self.fields[row as usize].id)
    }

    /// Yields the rows of memories that are expired at `now_us` and not deleted yet.
    pub fn expired(&self, now_us: i64) -> impl Iterator<Item = u32> + '_ {
        self.expiring.range(..=(now_us, u32::MAX)).map(|&(_, row)| row)
    }

    /// Returns the counts of live memories.
    pub fn counts(&self, now_us: i64) -> Counts {
        let mut counts =
            Counts { memories: self.memories(), term_occurrences: self.term_occurrences, vectors: self.vectors };
        for row in self.expired(now_us) {
            counts.memories -= 1;
            counts.term_occurrences -= u64::from(self.doc_length[row as usize]);
            counts.vectors -= usize::from(self.has_vector.get(row));
        }
        counts
    }

    pub fn size_bytes(&self) -> usize {
        // A slot of a hash table is its entry and a byte; a node of the tree is filled by two thirds on average.
        let hash_table = self.row_of.capacity() * (size_of::<(i64, u32)>() + 1) * 8 / 7;
        let tree = self.expiring.len() * size_of::<(i64, u32)>() * 3 / 2;
        growth::bytes(&self.fields)
            + growth::bytes(&self.doc_length)
            + growth::bytes(&self.free_rows)
            + self.live.size_bytes()
            + self.has_vector.size_bytes()
            + self.has_current_vector.size_bytes()
            + hash_table
            + tree
    }
}
