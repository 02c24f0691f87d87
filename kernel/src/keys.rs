//! Keys that callers gave to memories, in the order of their bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::bitmap::Bitmap;
use crate::prefix::PrefixEnd;

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

    /// Adds the rows whose keys begin with `prefix` to `rows`.
    pub fn insert_with_prefix(&self, prefix: &str, rows: &mut Bitmap) {
        let end = PrefixEnd::new(prefix);
        self.rows.range::<str, _>(end.range(prefix)).for_each(|(_, &row)| rows.insert(row));
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
