//! BM25 sums of a pool's rows by all terms of a query.

use std::collections::HashMap;

use crate::bm25::{self, Norms};
use crate::columns::Columns;
use crate::postings::{self, InvertedIndex, Posting};

/// What a row costs by its own keys, in postings read.
const POSTINGS_PER_ROW: usize = 32;
const SIEVE_BITS: usize = 4096;
const NOT_IN_POOL: u32 = u32::MAX;

/// Returns the sum of each row, in the order of the terms: 0 where no term occurs.
pub fn sums(
    terms: &[String],
    idf: &[f64],
    rows: &[u32],
    norms: &Norms,
    index: &InvertedIndex,
    columns: &Columns,
) -> Vec<f64> {
    let keys: Vec<(u32, f64)> = terms
        .iter()
        .zip(idf)
        .filter_map(|(term, &idf)| Some((index.key_id(&postings::term_key(term))?, idf)))
        .collect();
    let found: usize = keys.iter().map(|&(key, _)| index.postings(key).len()).sum();
    if found + columns.rows() / 4 < POSTINGS_PER_ROW * rows.len() {
        by_postings(&keys, rows, norms, index, columns)
    } else {
        by_row_keys(&keys, rows, norms, index, columns)
    }
}

/// Reads the postings of all terms: where they are not much more than the pool's rows.
fn by_postings(keys: &[(u32, f64)], rows: &[u32], norms: &Norms, index: &InvertedIndex, columns: &Columns) -> Vec<f64> {
    let mut place = vec![NOT_IN_POOL; columns.rows()];
    (0..).zip(rows).for_each(|(number, &row)| place[row as usize] = number);
    let mut sums = vec![0.0; rows.len()];
    for &(key, idf) in keys {
        for &Posting { row, tf } in index.postings(key) {
            let number = place[row as usize];
            if number != NOT_IN_POOL {
                sums[number as usize] += bm25::part(idf, tf, norms.get(columns.doc_length[row as usize]));
            }
        }
    }
    sums
}

/// Reads the keys of all rows: where terms have very many postings.
fn by_row_keys(keys: &[(u32, f64)], rows: &[u32], norms: &Norms, index: &InvertedIndex, columns: &Columns) -> Vec<f64> {
    let numbers: HashMap<u32, usize> = keys.iter().enumerate().map(|(number, &(key, _))| (key, number)).collect();
    // One bit a key that is a term's, by its lowest bits: most keys of a row are not, and need no look-up.
    let mut sieve = [0_u64; SIEVE_BITS / 64];
    keys.iter().for_each(|&(key, _)| sieve[key as usize % SIEVE_BITS / 64] |= 1 << (key % 64));
    let mut matches: Vec<(usize, u16)> = Vec::new();
    let sum = |&row: &u32| {
        matches.clear();
        for entry in index.keys_of(row) {
            let key = entry.key;
            if sieve[key as usize % SIEVE_BITS / 64] >> (key % 64) & 1 == 1 {
                matches.extend(numbers.get(&key).map(|&number| (number, entry.tf)));
            }
        }
        matches.sort_unstable();
        let norm = norms.get(columns.doc_length[row as usize]);
        matches.iter().fold(0.0, |sum, &(number, tf)| sum + bm25::part(keys[number].1, tf, norm))
    };
    rows.iter().map(sum).collect()
}
