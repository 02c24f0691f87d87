//! Sessions: the rows of each, in the order of their positions.

use std::collections::HashMap;
use std::sync::Arc;

use crate::columns::Fields;
use crate::growth;

/// Rows added to a session at once up to which each is put in its place; more are sorted.
const MAX_INSERTIONS: usize = 8;

#[derive(Default)]
struct Session {
    name: Arc<str>,
    rows: Vec<u32>,
}

#[derive(Default)]
pub struct Sessions {
    numbers: HashMap<Arc<str>, u32>,
    sessions: Vec<Session>,
    free: Vec<u32>,
}

impl Sessions {
    /// Returns the number of a session, new if no row has it; `add` must follow.
    pub fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let name: Arc<str> = name.into();
        let session = Session { name: name.clone(), rows: Vec::new() };
        let number = if let Some(number) = self.free.pop() {
            self.sessions[number as usize] = session;
            number
        } else {
            growth::push(&mut self.sessions, session);
            self.sessions.len() as u32 - 1
        };
        self.numbers.insert(name, number);
        number
    }

    /// Adds rows, whose fields are set, to a session.
    pub fn add(&mut self, number: u32, new: &[u32], fields: &[Fields]) {
        let position = |row: u32| fields[row as usize].position;
        let rows = &mut self.sessions[number as usize].rows;
        growth::reserve(rows, new.len());
        if new.len() <= MAX_INSERTIONS {
            for &row in new {
                let index = rows.partition_point(|&other| position(other) < position(row));
                rows.insert(index, row);
            }
        } else {
            rows.extend_from_slice(new);
            rows.sort_by_key(|&row| position(row));
        }
    }

    /// Removes a row, whose fields are still set; a session without rows no longer exists.
    pub fn remove(&mut self, number: u32, row: u32, fields: &[Fields]) {
        let session = &mut self.sessions[number as usize];
        if let Some(index) = index_of(&session.rows, row, fields) {
            session.rows.remove(index);
        }
        if session.rows.is_empty() {
            let session = std::mem::take(session);
            self.numbers.remove(&session.name);
            growth::push(&mut self.free, number);
        }
    }

    /// Returns the rows of a session by number, in the order of their positions.
    pub fn rows(&self, number: u32) -> &[u32] {
        &self.sessions[number as usize].rows
    }

    /// Returns the rows of a session by name; of one that does not exist, no rows.
    pub fn named(&self, name: &str) -> &[u32] {
        self.numbers.get(name).map_or(&[], |&number| self.rows(number))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.numbers.keys().map(|name| &**name)
    }

    pub fn size_bytes(&self) -> usize {
        let lists: usize = self.sessions.iter().map(|session| 16 + growth::bytes(&session.rows)).sum();
        let names: usize = self.numbers.keys().map(|name| name.len() + 32).sum();
        let hash_table = self.numbers.capacity() * (size_of::<(Arc<str>, u32)>() + 1) * 8 / 7;
        growth::bytes(&self.sessions) + growth::bytes(&self.free) + lists + names + hash_table
    }
}

/// Returns where a row is in the rows of its session.
pub fn index_of(rows: &[u32], row: u32, fields: &[Fields]) -> Option<usize> {
    // A session that was written at once has adjacent rows.
    let as_adjacent = row.wrapping_sub(*rows.first()?) as usize;
    if rows.get(as_adjacent) == Some(&row) {
        return Some(as_adjacent);
    }
    let position = fields[row as usize].position;
    let index = rows.partition_point(|&other| fields[other as usize].position < position);
    // Positions in a session are distinct; otherwise the row may be among its equals.
    rows[index..].iter().position(|&other| other == row).map(|offset| index + offset)
}
