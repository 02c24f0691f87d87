//! Inverted index of terms and subjects, and the forward index, which has each row's keys.
//!
//! The first character of a key is its kind: `t` term, `u` subject. A key exists as long as a row has it:
//! with the last row it is removed.

use std::collections::HashMap;
use std::sync::Arc;

use crate::growth;

/// A row that has a key, and how often. Six bytes; so read and write the fields by value.
#[derive(Clone, Copy)]
#[repr(C, packed(2))]
pub struct Posting {
    pub row: u32,
    pub tf: u16,
}

/// A key that a row has, and how often.
#[derive(Clone, Copy)]
#[repr(C, packed(2))]
pub struct RowKey {
    pub key: u32,
    pub tf: u16,
}

pub fn term_key(term: &str) -> String {
    format!("t{term}")
}

pub fn subject_key(subject: &str) -> String {
    format!("u{subject}")
}

#[derive(Default)]
pub struct InvertedIndex {
    key_ids: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
    /// Postings by key, sorted by row.
    postings: Vec<Vec<Posting>>,
    free: Vec<u32>,
    row_keys: Vec<Box<[RowKey]>>,
    name_bytes: usize,
    postings_bytes: usize,
    row_key_bytes: usize,
}

impl InvertedIndex {
    /// Returns a key's number, stable while a row has the key.
    pub fn key_id(&self, name: &str) -> Option<u32> {
        self.key_ids.get(name).copied()
    }

    /// Returns the postings of a key, sorted by row.
    pub fn postings(&self, key: u32) -> &[Posting] {
        &self.postings[key as usize]
    }

    /// Returns the postings of a key by name; of one that does not exist, no postings.
    pub fn named(&self, name: &str) -> &[Posting] {
        self.key_id(name).map_or(&[], |key| self.postings(key))
    }

    /// Returns the keys of a row, in any order.
    pub fn keys_of(&self, row: u32) -> &[RowKey] {
        self.row_keys.get(row as usize).map_or(&[], |keys| keys)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.key_ids.keys().map(|name| &**name)
    }

    /// Adds the keys of new rows: each of `entries` is a key with its postings, in any order.
    pub fn add(&mut self, entries: Vec<(String, Vec<Posting>)>, rows: usize) {
        let mut by_row: Vec<(u32, RowKey)> = Vec::with_capacity(entries.iter().map(|(_, new)| new.len()).sum());
        for (name, new) in entries {
            if new.is_empty() {
                continue;
            }
            let key = self.allocate(&name);
            by_row.extend(new.iter().map(|posting| (posting.row, RowKey { key, tf: posting.tf })));
            self.insert(key, new);
        }
        by_row.sort_by_key(|&(row, _)| row);
        let first_new = self.row_keys.len();
        if rows > first_new {
            growth::reserve(&mut self.row_keys, rows - first_new);
            self.row_keys.resize_with(rows, Box::default);
        }
        for keys in by_row.chunk_by(|one, other| one.0 == other.0) {
            let keys_of_row: Box<[RowKey]> = keys.iter().map(|&(_, key)| key).collect();
            self.row_key_bytes += heap_bytes(size_of_val(&*keys_of_row));
            self.row_keys[keys[0].0 as usize] = keys_of_row;
        }
    }

    /// Removes rows from the postings of all their keys.
    pub fn remove(&mut self, rows: &[u32]) {
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for &row in rows {
            if let Some(keys) = self.row_keys.get_mut(row as usize) {
                let keys = std::mem::take(keys);
                self.row_key_bytes -= heap_bytes(size_of_val(&*keys));
                pairs.extend(keys.iter().map(|key| (key.key, row)));
            }
        }
        pairs.sort_unstable();
        for of_key in pairs.chunk_by(|one, other| one.0 == other.0) {
            self.remove_from(of_key[0].0, of_key);
        }
    }

    /// Removes the rows of `pairs`, which are sorted, from the postings of a key.
    fn remove_from(&mut self, key: u32, pairs: &[(u32, u32)]) {
        let list = &mut self.postings[key as usize];
        self.postings_bytes -= heap_bytes(growth::bytes(list));
        if let [(_, row)] = *pairs {
            if let Ok(index) = list.binary_search_by_key(&row, |posting| posting.row) {
                list.remove(index);
            }
        } else {
            let mut removed = pairs.iter().map(|&(_, row)| row).peekable();
            list.retain(|posting| {
                let row = posting.row;
                while removed.next_if(|&other| other < row).is_some() {}
                removed.peek() != Some(&row)
            });
        }
        if list.is_empty() {
            *list = Vec::new();
            let name = std::mem::take(&mut self.names[key as usize]);
            self.name_bytes -= heap_bytes(name.len() + 16);
            self.key_ids.remove(&name);
            growth::push(&mut self.free, key);
            return;
        }
        if list.capacity() > 2 * list.len() + 16 {
            list.shrink_to_fit();
        }
        self.postings_bytes += heap_bytes(growth::bytes(list));
    }

    fn insert(&mut self, key: u32, mut new: Vec<Posting>) {
        if !new.is_sorted_by_key(|posting| posting.row) {
            new.sort_unstable_by_key(|posting| posting.row);
        }
        let list = &mut self.postings[key as usize];
        self.postings_bytes -= heap_bytes(growth::bytes(list));
        let (first, last) = (new[0].row, list.last().map(|posting| posting.row));
        growth::reserve(list, new.len());
        if last.is_none_or(|last| first > last) {
            list.extend_from_slice(&new);
        } else if let [posting] = *new {
            list.insert(list.partition_point(|other| other.row < first), posting);
        } else {
            list.extend_from_slice(&new);
            list.sort_by_key(|posting| posting.row);
        }
        self.postings_bytes += heap_bytes(growth::bytes(list));
    }

    fn allocate(&mut self, name: &str) -> u32 {
        if let Some(key) = self.key_id(name) {
            return key;
        }
        let name: Arc<str> = name.into();
        self.name_bytes += heap_bytes(name.len() + 16);
        let key = if let Some(key) = self.free.pop() {
            self.names[key as usize] = name.clone();
            key
        } else {
            growth::push(&mut self.names, name.clone());
            growth::push(&mut self.postings, Vec::new());
            self.names.len() as u32 - 1
        };
        self.key_ids.insert(name, key);
        key
    }

    pub fn size_bytes(&self) -> usize {
        let hash_table = self.key_ids.capacity() * (size_of::<(Arc<str>, u32)>() + 1) * 8 / 7;
        hash_table
            + growth::bytes(&self.names)
            + growth::bytes(&self.postings)
            + growth::bytes(&self.free)
            + growth::bytes(&self.row_keys)
            + self.name_bytes
            + self.postings_bytes
            + self.row_key_bytes
    }
}

/// Returns what an allocation takes of the heap: rounded to 16 bytes, with a header of 8.
fn heap_bytes(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}
