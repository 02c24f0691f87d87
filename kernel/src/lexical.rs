//! The best memories by words: BM25 in blocks of rows, so that the sums stay in the processor's cache.
//!
//! A term adds less than idf · (k1 + 1). Terms that together cannot lift a memory over the k-th best so far select
//! nothing any more (MaxScore, Turtle & Flood 1995): their postings are only looked up for memories that rarer terms
//! find, and only if these may still reach the k-th best with them.

use crate::bitmap::Bitmap;
use crate::bm25::{self, K1, Norms};
use crate::columns::Columns;
use crate::postings::Posting;
use crate::top_k::TopK;

/// Rows of the first block, after which there may be a k-th best, and of the largest.
const MIN_BLOCK_ROWS: u32 = 64;
const MAX_BLOCK_ROWS: u32 = 4096;
/// Scores are compared in millionths.
const UNITS: f64 = 1e6;
/// More than a rounding to millionths and those of all sums can add, as a share and as units.
const SLACK: f64 = 1.0 + 1e-9;
const SLACK_UNITS: f64 = 2.0;

/// A query's term with its postings, sorted by row.
pub struct Term<'a> {
    pub idf: f64,
    pub postings: &'a [Posting],
}

impl Term<'_> {
    /// An upper bound of what the term adds, in millionths.
    fn max_units(&self) -> f64 {
        self.idf * (K1 + 1.0) * UNITS * SLACK
    }

    /// Returns the frequency of the term in a row; 0: it has not the term.
    fn tf(&self, row: u32) -> u16 {
        let found = self.postings.binary_search_by_key(&row, |posting| posting.row);
        found.map_or(0, |index| self.postings[index].tf)
    }
}

/// Returns the `limit` best of `matching` by their BM25 sums in the order of `terms`; ties go to the lowest ids.
pub fn top_k(terms: &[Term<'_>], norms: &Norms, columns: &Columns, matching: &Bitmap, limit: usize) -> Vec<u32> {
    // By what they add at most, the least first: the first `optional` select nothing, together at most `others`.
    let mut by_weight: Vec<&Term<'_>> = terms.iter().collect();
    by_weight.sort_by(|one, other| one.idf.total_cmp(&other.idf));
    let (mut optional, mut others) = (0, 0.0);
    let mut rest: Vec<&[Posting]> = by_weight.iter().map(|term| term.postings).collect();
    let mut best = TopK::new(limit);
    let mut sums = vec![0.0_f64; MAX_BLOCK_ROWS as usize];
    let mut touched: Vec<u32> = Vec::with_capacity(MAX_BLOCK_ROWS as usize);
    let mut block_rows = MIN_BLOCK_ROWS;
    loop {
        let least = best.cut().map_or(0.0, |(units, _, _): (u64, i64, u32)| (u64::MAX - units) as f64);
        while optional < by_weight.len() && others + by_weight[optional].max_units() + SLACK_UNITS < least {
            others += by_weight[optional].max_units();
            optional += 1;
        }
        let Some(begin) = rest[optional..].iter().filter_map(|postings| Some(postings.first()?.row)).min() else {
            break;
        };
        for (term, postings) in by_weight.iter().zip(&mut rest).skip(optional) {
            // An essential term has not been skipped before: `optional` only grows.
            let end = postings.iter().position(|posting| posting.row - begin >= block_rows).unwrap_or(postings.len());
            for posting in &postings[..end] {
                let (row, sum) = (posting.row, &mut sums[(posting.row - begin) as usize]);
                if *sum == 0.0 {
                    touched.push(row);
                }
                *sum += bm25::part(term.idf, posting.tf, norms.get(columns.doc_length[row as usize]));
            }
            *postings = &postings[end..];
        }
        block_rows = MAX_BLOCK_ROWS.min(2 * block_rows);
        for row in touched.drain(..) {
            let sum = std::mem::take(&mut sums[(row - begin) as usize]);
            if sum * UNITS * SLACK + others + SLACK_UNITS < least || !matching.get(row) {
                continue;
            }
            let units = (score(terms, norms, columns, row) * UNITS).round_ties_even() as u64;
            if units > 0 || sum > 0.0 {
                best.push((u64::MAX - units, columns.fields[row as usize].id, row));
            }
        }
    }
    best.finish().into_iter().map(|(_, _, row)| row).collect()
}

/// Returns a row's sum in the order of `terms`.
fn score(terms: &[Term<'_>], norms: &Norms, columns: &Columns, row: u32) -> f64 {
    let norm = norms.get(columns.doc_length[row as usize]);
    terms.iter().fold(0.0, |sum, term| match term.tf(row) {
        0 => sum,
        tf => sum + bm25::part(term.idf, tf, norm),
    })
}
