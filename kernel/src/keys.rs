//! Keys that callers gave to memories, in the order of their bytes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::bitmap::Bitmap;
use crate::ordered::Ordered;
use crate::prefix::PrefixEnd;

#[derive(Default)]
pub struct Keys {
    rows: Ordered<Arc<str>>,
    keys: HashMap<u32, Arc<str>>,
    bytes: usize,
}

/// Bytes of a key beside its characters: an allocation, its place in the order, and spare room.
const KEY_BYTES: usize = 32 + 3 * (16 + 4) / 2;

impl Keys {
    /// Adds the key of a row, which no other row has.
    pub fn add(&mut self, key: &str, row: u32) {
        let key: Arc<str> = key.into();
        self.bytes += key.len() + KEY_BYTES;
        self.rows.insert(key.clone(), row);
        self.keys.insert(row, key);
    }

    /// Removes the key of a row, if it has one.
    pub fn remove(&mut self, row: u32) {
        if let Some(key) = self.keys.remove(&row) {
            self.bytes -= key.len() + KEY_BYTES;
            self.rows.remove(&*key, row);
        }
    }

    /// Adds the rows whose keys begin with `prefix` to `rows`.
    pub fn insert_with_prefix(&self, prefix: &str, rows: &mut Bitmap) {
        let end = PrefixEnd::new(prefix);
        self.rows.for_each_in(end.range(prefix), |row| rows.insert(row));
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.values().map(|key| &**key)
    }

    pub fn size_bytes(&self) -> usize {
        // A slot of the hash table is its entry and a byte.
        self.bytes + self.keys.capacity() * (size_of::<(u32, Arc<str>)>() + 1) * 8 / 7
    }
}
