//! A set of rows, one bit each.

use crate::growth;

pub const WORD_BITS: usize = 64;

#[derive(Clone, Default)]
pub struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    /// Returns an empty set with room for `rows` rows.
    pub fn new(rows: usize) -> Self {
        Self { words: vec![0; rows.div_ceil(WORD_BITS)] }
    }

    /// Makes room for `rows` rows.
    pub fn extend_to(&mut self, rows: usize) {
        growth::extend_to(&mut self.words, rows.div_ceil(WORD_BITS), 0);
    }

    pub fn get(&self, row: u32) -> bool {
        self.words[row as usize / WORD_BITS] >> (row as usize % WORD_BITS) & 1 == 1
    }

    pub fn insert(&mut self, row: u32) {
        self.words[row as usize / WORD_BITS] |= 1 << (row as usize % WORD_BITS);
    }

    pub fn remove(&mut self, row: u32) {
        self.words[row as usize / WORD_BITS] &= !(1 << (row as usize % WORD_BITS));
    }

    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Keeps the rows that are also in `other`, which has room for as many rows.
    pub fn intersect(&mut self, other: &Self) {
        for (word, with) in self.words.iter_mut().zip(&other.words) {
            *word &= with;
        }
    }

    /// Adds the rows of `other`, which has room for as many rows.
    pub fn unite(&mut self, other: &Self) {
        for (word, with) in self.words.iter_mut().zip(&other.words) {
            *word |= with;
        }
    }

    /// Removes the rows of `other`, which has room for as many rows.
    pub fn subtract(&mut self, other: &Self) {
        for (word, without) in self.words.iter_mut().zip(&other.words) {
            *word &= !without;
        }
    }

    /// Keeps the rows for which `is_kept` is true.
    pub fn retain(&mut self, is_kept: impl Fn(u32) -> bool) {
        for (index, word) in self.words.iter_mut().enumerate() {
            let mut rest = *word;
            while rest != 0 {
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                if !is_kept((index * WORD_BITS) as u32 + bit) {
                    *word &= !(1 << bit);
                }
            }
        }
    }

    /// The sets of 64 rows each: bit b of word w is row 64·w + b.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub fn size_bytes(&self) -> usize {
        growth::bytes(&self.words)
    }
}
