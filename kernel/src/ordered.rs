//! Rows in the order of their values, in chunks, so that the rows of a range of values are read one after the other.

use std::borrow::Borrow;
use std::ops::Bound;

/// Entries of a chunk at most; a fuller one is split.
const MAX_CHUNK: usize = 1024;

struct Chunk<K> {
    /// Sorted with `rows`, by value and row.
    values: Vec<K>,
    rows: Vec<u32>,
}

/// Pairs of a value and a row, each once.
pub struct Ordered<K> {
    /// None is empty.
    chunks: Vec<Chunk<K>>,
}

impl<K> Default for Ordered<K> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<K: Ord> Ordered<K> {
    pub fn insert(&mut self, value: K, row: u32) {
        if self.chunks.is_empty() {
            self.chunks.push(Chunk { values: vec![value], rows: vec![row] });
            return;
        }
        let index = self.chunk_of(&value, row);
        let chunk = &mut self.chunks[index];
        let place = chunk.place(&value, row);
        chunk.values.insert(place, value);
        chunk.rows.insert(place, row);
        if chunk.rows.len() > MAX_CHUNK {
            let half = chunk.rows.len() / 2;
            let second = Chunk { values: chunk.values.split_off(half), rows: chunk.rows.split_off(half) };
            self.chunks.insert(index + 1, second);
        }
    }

    pub fn remove<Q: Ord + ?Sized>(&mut self, value: &Q, row: u32)
    where
        K: Borrow<Q>,
    {
        if self.chunks.is_empty() {
            return;
        }
        let index = self.chunk_of(value, row);
        let chunk = &mut self.chunks[index];
        let place = chunk.place(value, row);
        if chunk.rows.get(place) == Some(&row) && chunk.values[place].borrow() == value {
            chunk.values.remove(place);
            chunk.rows.remove(place);
        }
        if chunk.rows.is_empty() {
            self.chunks.remove(index);
        }
    }

    /// Returns the value that is stored of those equal to `value`.
    pub fn stored<Q: Ord + ?Sized>(&self, value: &Q) -> Option<&K>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.first_chunk(|other| other < value))?;
        let place = chunk.values.partition_point(|other| other.borrow() < value);
        chunk.values.get(place).filter(|&other| other.borrow() == value)
    }

    /// Calls `each` with the rows of a range of values.
    pub fn for_each_in<Q: Ord + ?Sized>(&self, range: (Bound<&Q>, Bound<&Q>), mut each: impl FnMut(u32))
    where
        K: Borrow<Q>,
    {
        let is_before = |value: &Q| match range.0 {
            Bound::Unbounded => false,
            Bound::Included(from) => value < from,
            Bound::Excluded(after) => value <= after,
        };
        let is_within = |value: &Q| match range.1 {
            Bound::Unbounded => true,
            Bound::Included(to) => value <= to,
            Bound::Excluded(until) => value < until,
        };
        for chunk in &self.chunks[self.first_chunk(is_before).min(self.chunks.len())..] {
            let begin = chunk.values.partition_point(|value| is_before(value.borrow()));
            let end = chunk.values.partition_point(|value| is_within(value.borrow()));
            chunk.rows[begin.min(end)..end].iter().for_each(|&row| each(row));
            if end < chunk.rows.len() {
                break;
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Yields the values, one for each row, in their order.
    pub fn values(&self) -> impl Iterator<Item = &K> {
        self.chunks.iter().flat_map(|chunk| &chunk.values)
    }

    /// Returns the first chunk whose last value is not before what `is_before` tells; without one, their number.
    fn first_chunk<Q: ?Sized>(&self, is_before: impl Fn(&Q) -> bool) -> usize
    where
        K: Borrow<Q>,
    {
        self.chunks.partition_point(|chunk| chunk.values.last().is_some_and(|last| is_before(last.borrow())))
    }

    /// Returns the chunk that has a pair, or is to have it.
    fn chunk_of<Q: Ord + ?Sized>(&self, value: &Q, row: u32) -> usize
    where
        K: Borrow<Q>,
    {
        let is_before = |chunk: &Chunk<K>| {
            let last = chunk.values.last().zip(chunk.rows.last());
            last.is_some_and(|(last, &last_row)| (last.borrow(), last_row) < (value, row))
        };
        self.chunks.partition_point(is_before).min(self.chunks.len() - 1)
    }
}

impl<K: Ord> Chunk<K> {
    fn place<Q: Ord + ?Sized>(&self, value: &Q, row: u32) -> usize
    where
        K: Borrow<Q>,
    {
        let begin = self.values.partition_point(|other| other.borrow() < value);
        let end = begin + self.values[begin..].partition_point(|other| other.borrow() == value);
        begin + self.rows[begin..end].partition_point(|&other| other < row)
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_CHUNK, Ordered};
    use std::collections::BTreeSet;
    use std::ops::Bound::{Excluded, Included, Unbounded};

    #[test]
    fn ranges_have_the_rows_of_a_sorted_set_after_any_insertions_and_removals() {
        let (mut ordered, mut expected) = (Ordered::<u64>::default(), BTreeSet::new());
        let mut state = 7_u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for step in 0..20 * MAX_CHUNK as u64 {
            let (value, row) = (draw(300), draw(40) as u32);
            if draw(3) > 0 {
                if expected.insert((value, row)) {
                    ordered.insert(value, row);
                }
            } else {
                expected.remove(&(value, row));
                ordered.remove(&value, row);
            }
            if step % 200 == 0 {
                let (low, high) = (draw(300), draw(300));
                for from in [Unbounded, Included(low), Excluded(low)] {
                    for until in [Unbounded, Included(high), Excluded(high)] {
                        let mut found = Vec::new();
                        ordered.for_each_in((from.as_ref(), until.as_ref()), |row| found.push(row));
                        let is_after = |value: u64| match from {
                            Unbounded => true,
                            Included(low) => value >= low,
                            Excluded(low) => value > low,
                        };
                        let is_before = |value: u64| match until {
                            Unbounded => true,
                            Included(high) => value <= high,
                            Excluded(high) => value < high,
                        };
                        let within = expected.iter().filter(|(value, _)| is_after(*value) && is_before(*value));
                        assert_eq!(found, within.map(|(_, row)| *row).collect::<Vec<_>>(), "{from:?} {until:?}");
                    }
                }
            }
        }
        assert!(expected.len() > 4 * MAX_CHUNK);
    }
}
