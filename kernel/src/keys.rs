//! Keys that callers gave to memories, in the order of their bytes.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

#[derive(Default)]
pub struct Keys {
    rows: BTreeMap<Arc<str>, u32>,
    keys: HashMap<u32, Arc<str>>,
    bytes: usize,
}

impl Keys {
    /// Adds the key of a row, which no other row has.
    pub fn add(&mut self, key: &str, row: u32) {
        let key: Arc<str> = key.into();
        self.bytes += key.len() + 32;
        self.rows.insert(key.clone(), row);
        self.keys.insert(row, key);
    }

    /// Removes the key of a row, if it has one.
    pub fn remove(&mut self, row: u32) {
        if let Some(key) = self.keys.remove(&row) {
            self.bytes -= key.len() + 32;
            self.rows.remove(&key);
        }
    }

    /// Yields the rows whose keys begin with `prefix`.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = u32> + 'a {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.rows.range::<str, _>(from).take_while(move |(key, _)| key.starts_with(prefix)).map(|(_, &row)| row)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.keys().map(|key| &**key)
    }

    pub fn size_bytes(&self) -> usize {
        // A slot of the hash table is its entry and a byte; a node of the tree is filled by two thirds on average.
        let hash_table = self.keys.capacity() * (size_of::<(u32, Arc<str>)>() + 1) * 8 / 7;
        self.bytes + hash_table + self.rows.len() * size_of::<(Arc<str>, u32)>() * 3 / 2
    }
}
