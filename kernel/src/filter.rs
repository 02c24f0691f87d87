//! Memory filters as sets of rows; the counterpart of `somabrain_service.store.postgres.queries.filters`.

use crate::bitmap::Bitmap;
use crate::columns::NO_SESSION;
use crate::condition::{Condition, Operator};
use crate::index::Index;
use crate::postings::{self, InvertedIndex};

/// A memory must match every set field, of a list any value. Times are in microseconds since 1970.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub labels: Vec<(String, String)>,
    pub kinds: Vec<i16>,
    pub sessions: Vec<String>,
    pub subjects: Vec<String>,
    /// Inclusive.
    pub event_from_us: Option<i64>,
    /// Exclusive.
    pub event_until_us: Option<i64>,
    pub create_from_us: Option<i64>,
    pub create_until_us: Option<i64>,
    pub pinned: Option<bool>,
    /// Empty: with or without a key.
    pub key_prefix: String,
    /// All must be met.
    pub conditions: Vec<Condition>,
    /// At least one must match, unless there are none.
    pub any_of: Vec<Filter>,
    pub none_of: Vec<Filter>,
}

impl Filter {
    /// Returns the live memories that match.
    pub fn matching(&self, index: &Index, now_us: i64) -> Bitmap {
        let mut matching = index.columns.live.clone();
        for row in index.columns.expired(now_us) {
            matching.remove(row);
        }
        self.restrict(index, &mut matching);
        matching
    }

    /// Keeps those of the rows that match.
    fn restrict(&self, index: &Index, matching: &mut Bitmap) {
        let rows = index.columns.rows();
        let fields = |row: u32| &index.columns.fields[row as usize];
        for (label, value) in &self.labels {
            let mut labelled = Bitmap::new(rows);
            index.labels.insert_exact(label, value, &mut labelled);
            matching.intersect(&labelled);
        }
        for condition in &self.conditions {
            let mut labelled = Bitmap::new(rows);
            index.labels.insert_matching(condition, &mut labelled);
            match condition.operator {
                Operator::NotEqual => matching.subtract(&labelled),
                _ => matching.intersect(&labelled),
            }
        }
        if !self.key_prefix.is_empty() {
            let mut with_prefix = Bitmap::new(rows);
            index.keys.insert_with_prefix(&self.key_prefix, &mut with_prefix);
            matching.intersect(&with_prefix);
        }
        if !self.sessions.is_empty() {
            let mut in_session = Bitmap::new(rows);
            for name in &self.sessions {
                index.sessions.named(name).iter().for_each(|&row| in_session.insert(row));
            }
            let without = self.sessions.iter().any(String::is_empty);
            matching.retain(|row| in_session.get(row) || (without && fields(row).session == NO_SESSION));
        }
        if !self.subjects.is_empty() {
            let mut about = Bitmap::new(rows);
            for subject in self.subjects.iter().filter(|subject| !subject.is_empty()) {
                insert_key(&mut about, &index.inverted_index, &postings::subject_key(subject));
            }
            let without = self.subjects.iter().any(String::is_empty);
            matching.retain(|row| about.get(row) || (without && !fields(row).has_subject));
        }
        if !self.kinds.is_empty() {
            matching.retain(|row| self.kinds.contains(&fields(row).kind));
        }
        for (from, until, time) in [
            (self.event_from_us, self.event_until_us, &(|row| fields(row).event_us) as &dyn Fn(u32) -> i64),
            (self.create_from_us, self.create_until_us, &|row| fields(row).create_us),
        ] {
            if from.is_some() || until.is_some() {
                let (from, until) = (from.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX));
                matching.retain(|row| from <= time(row) && time(row) < until);
            }
        }
        if let Some(pinned) = self.pinned {
            matching.retain(|row| fields(row).pinned == pinned);
        }
        if !self.any_of.is_empty() {
            let mut any = Bitmap::new(rows);
            for filter in &self.any_of {
                any.unite(&filter.restricted(index, matching));
            }
            matching.intersect(&any);
        }
        for filter in &self.none_of {
            matching.subtract(&filter.restricted(index, matching));
        }
    }

    fn restricted(&self, index: &Index, matching: &Bitmap) -> Bitmap {
        let mut rows = matching.clone();
        self.restrict(index, &mut rows);
        rows
    }
}

fn insert_key(rows: &mut Bitmap, index: &InvertedIndex, name: &str) {
    index.named(name).iter().for_each(|posting| rows.insert(posting.row));
}
