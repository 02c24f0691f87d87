//! The best memories by vector, exact: bounds from a part of the planes decide which few are multiplied out.
//!
//! A row whose upper bound is below the cosines of k others cannot be among the k nearest. First the plane h bounds a
//! row, with half of the bytes that are read otherwise; the plane m is read only for rows that h does not exclude.
//! Where h excludes too few, as in a small namespace, both are read at once.

use crate::bitmap::{Bitmap, WORD_BITS};
use crate::columns::Fields;
use crate::top_k::TopK;
use crate::vectors::{QuantizedVectors, Query};

/// Rows after which it is decided which planes are read first.
const TRIAL_ROWS: usize = 4096;
/// Number of trials' rows until the plane h alone is tried again.
const TRIALS_UNTIL_RETRY: usize = 8;
/// Share of rows that the plane h must exclude to be worth reading on its own.
const MIN_EXCLUDED: f64 = 0.65;
/// A word with fewer rows than this part of its range is read row by row.
const MIN_DENSITY: u32 = 3;
/// Upper bound of the rounding of a cosine to float32.
const ROUNDING_ERROR: f32 = 1e-6;

/// The nearest rows so far, by distance and id.
struct Nearest<'a> {
    vectors: &'a QuantizedVectors,
    query: &'a Query,
    fields: &'a [Fields],
    best: TopK<(u64, i64, u32)>,
    /// A lower bound of the k-th highest cosine.
    cut: f32,
}

impl Nearest<'_> {
    /// Multiplies a row out.
    fn push(&mut self, row: u32) {
        // Distances are never negative, so their bits are in their order.
        let distance = self.vectors.distance(row, self.query).to_bits();
        if self.best.push((distance, self.fields[row as usize].id, row)) {
            if let Some((distance, _, _)) = self.best.cut() {
                self.cut = (1.0 - f64::from_bits(distance)) as f32 - ROUNDING_ERROR;
            }
        }
    }
}

/// Returns the `limit` nearest of `rows`, all of which have vectors; ties go to the lowest ids.
pub fn top_k(vectors: &QuantizedVectors, query: &Query, rows: &Bitmap, fields: &[Fields], limit: usize) -> Vec<u32> {
    if limit == 0 {
        return Vec::new();
    }
    let mut nearest = Nearest { vectors, query, fields, best: TopK::new(limit), cut: f32::NEG_INFINITY };
    let mut order = PlaneOrder::default();
    for (index, &word) in rows.words().iter().enumerate().filter(|(_, word)| **word != 0) {
        let first = index * WORD_BITS;
        let (begin, end) = (word.trailing_zeros(), WORD_BITS as u32 - word.leading_zeros());
        let high_first = order.high_first(word.count_ones() as usize);
        let mut read = |begin: u32, count: u32| {
            let mut bounds = [0.0; WORD_BITS];
            let (first, bounds) = (first + begin as usize, &mut bounds[..count as usize]);
            if high_first {
                vectors.high_bounds(first, query, bounds);
            } else {
                vectors.coarse_bounds(first, query, bounds);
            }
            let mut passed = reaching(bounds, nearest.cut) & (word >> begin);
            if high_first {
                order.passed(passed.count_ones() as usize);
                passed = bits(passed).fold(0, |coarse_passed, bit| {
                    let mut bound = [0.0];
                    vectors.coarse_bounds(first + bit as usize, query, &mut bound);
                    coarse_passed | u64::from(bound[0] >= nearest.cut) << bit
                });
            }
            bits(passed).for_each(|bit| nearest.push(first as u32 + bit));
        };
        if word.count_ones() * MIN_DENSITY >= end - begin {
            read(begin, end - begin);
        } else {
            bits(word).for_each(|bit| read(bit, 1));
        }
    }
    nearest.best.finish().into_iter().map(|(_, _, row)| row).collect()
}

/// Returns which bounds are at least `cut`.
fn reaching(bounds: &[f32], cut: f32) -> u64 {
    bounds.iter().enumerate().fold(0, |passed, (index, bound)| passed | u64::from(*bound >= cut) << index)
}

/// Yields the numbers of the bits that are set.
fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        (word != 0).then(|| {
            let bit = word.trailing_zeros();
            word &= word - 1;
            bit
        })
    })
}

/// Decides whether the plane h is read first, by how many rows it excluded lately.
#[derive(Default)]
struct PlaneOrder {
    high_first: bool,
    /// Rows of this trial, and how many of them h did not exclude.
    rows: usize,
    passed: usize,
    trials: usize,
}

impl PlaneOrder {
    fn high_first(&mut self, rows: usize) -> bool {
        if self.rows >= TRIAL_ROWS {
            if self.high_first {
                self.high_first = (self.passed as f64) <= (1.0 - MIN_EXCLUDED) * self.rows as f64;
                self.trials = 0;
            } else {
                self.trials += 1;
                // At first there is no cut yet; after that h is tried from time to time, as the cut rises.
                self.high_first = self.trials % TRIALS_UNTIL_RETRY == 0;
            }
            (self.rows, self.passed) = (0, 0);
        }
        self.rows += rows;
        self.high_first
    }

    fn passed(&mut self, rows: usize) {
        self.passed += rows;
    }
}
