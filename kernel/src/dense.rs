//! The best memories by vector, exact: bounds from a part of the planes decide which few are multiplied out.
//!
//! A row whose upper bound is below the cosines of k others cannot be among the k nearest.
//!
//! In a small namespace the planes h and m bound every row first; those that promise most are multiplied out, which
//! gives the k-th highest cosine so far, and then the few others that may still reach it. In a large one rows are read
//! once: the plane h bounds a row, with half of the bytes, and m is read only for rows that h does not exclude.

use crate::bitmap::{Bitmap, WORD_BITS};
use crate::columns::Fields;
use crate::top_k::TopK;
use crate::vectors::{QuantizedVectors, Query};

/// Rows up to which all bounds are kept: they take 256 KiB, and the ranking uses them once more.
const MAX_KEPT_BOUNDS: usize = 1 << 16;
/// Bins of a histogram of bounds, from -1 to 1.
const BINS: usize = 512;
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

/// The nearest rows with their cosines, and what is known of the others'.
#[derive(Default)]
pub struct Nearest {
    /// Sorted by row.
    pub cosines: Vec<(u32, f64)>,
    /// Upper bound of the cosines of all other rows that were compared.
    pub others: f64,
    /// Upper bounds by row, minus infinity for rows that were not compared; empty: not kept.
    pub bounds: Vec<f32>,
}

/// The nearest rows so far, by distance and id.
struct Best<'a> {
    vectors: &'a QuantizedVectors,
    query: &'a Query,
    fields: &'a [Fields],
    keys: TopK<(u64, i64, u32)>,
    /// A lower bound of the k-th highest cosine.
    cut: f32,
}

impl Best<'_> {
    /// Multiplies a row out.
    fn push(&mut self, row: u32) {
        // Distances are never negative, so their bits are in their order.
        let distance = self.vectors.distance(row, self.query).to_bits();
        if self.keys.push((distance, self.fields[row as usize].id, row)) {
            self.update_cut();
        }
    }

    fn update_cut(&mut self) {
        if let Some((distance, _, _)) = self.keys.cut() {
            self.cut = (1.0 - f64::from_bits(distance)) as f32 - ROUNDING_ERROR;
        }
    }
}

/// Returns the `limit` nearest of `rows`, all of which have vectors; ties go to the lowest ids.
pub fn top_k(vectors: &QuantizedVectors, query: &Query, rows: &Bitmap, fields: &[Fields], limit: usize) -> Nearest {
    let mut best = Best { vectors, query, fields, keys: TopK::new(limit), cut: f32::NEG_INFINITY };
    let mut bounds = Vec::new();
    if fields.len() <= MAX_KEPT_BOUNDS {
        bounds = kept_bounds(vectors, query, rows, fields.len());
        push_best_first(&mut best, &bounds, limit);
    } else {
        push_in_order(&mut best, rows);
    }
    let nearest = best.keys.finish().into_iter().map(|(distance, _, row)| (row, 1.0 - f64::from_bits(distance)));
    let mut cosines: Vec<(u32, f64)> = nearest.collect();
    cosines.sort_unstable_by_key(|&(row, _)| row);
    // Nothing else was compared if these are fewer than `limit`.
    let others = cosines.iter().map(|&(_, cosine)| cosine).fold(1.0, f64::min);
    Nearest { cosines, others, bounds }
}

/// Returns an upper bound of the cosine of each of `rows`, from the planes h and m.
fn kept_bounds(vectors: &QuantizedVectors, query: &Query, rows: &Bitmap, len: usize) -> Vec<f32> {
    let mut bounds = vec![f32::NEG_INFINITY; len];
    for (first, word) in words(rows) {
        for (begin, count) in ranges(word) {
            let first = first + begin as usize;
            let bounds = &mut bounds[first..first + count as usize];
            vectors.coarse_bounds(first, query, bounds);
            let compared = word >> begin;
            for (offset, bound) in bounds.iter_mut().enumerate() {
                *bound = if compared >> offset & 1 == 1 { *bound } else { f32::NEG_INFINITY };
            }
        }
    }
    bounds
}

/// Multiplies out the rows with the highest bounds, then those that may still be nearer than the k-th of these.
fn push_best_first(best: &mut Best<'_>, bounds: &[f32], limit: usize) {
    let mut histogram = [0_usize; BINS];
    bounds.iter().for_each(|&bound| histogram[bin(bound)] += 1);
    let mut promising = 0;
    let first_bin = (0..BINS).rev().find(|&number| {
        promising += histogram[number];
        promising >= limit
    });
    // The lowest bin has the rows that are not compared as well; then every row is.
    let first_bin = first_bin.unwrap_or(0);
    for (first, group) in (0..).step_by(WORD_BITS).zip(bounds.chunks(WORD_BITS)) {
        let passed = mask(group, |bound| bound > f32::NEG_INFINITY && bin(bound) >= first_bin);
        bits(passed).for_each(|bit| best.push(first + bit));
    }
    best.keys.prune();
    best.update_cut();
    for (first, group) in (0..).step_by(WORD_BITS).zip(bounds.chunks(WORD_BITS)) {
        let cut = best.cut;
        let passed = mask(group, |bound| bound >= cut && bound > f32::NEG_INFINITY);
        for bit in bits(passed).filter(|&bit| bin(group[bit as usize]) < first_bin) {
            best.push(first + bit);
        }
    }
}

/// Returns the bin of a bound; higher bounds have no lower bins.
fn bin(bound: f32) -> usize {
    // The conversion gives 0 for what is below it.
    (((bound + 1.0) * (BINS as f32 / 2.0)) as usize).min(BINS - 1)
}

/// Reads rows once, in their order.
fn push_in_order(best: &mut Best<'_>, rows: &Bitmap) {
    let mut order = PlaneOrder::default();
    // Rows that h did not exclude: their plane m is on its way while the next rows are read.
    let mut pending: Vec<u32> = Vec::with_capacity(2 * WORD_BITS);
    for (first, word) in words(rows) {
        let high_first = order.high_first(word.count_ones() as usize);
        for (begin, count) in ranges(word) {
            let mut bounds = [0.0; WORD_BITS];
            let (first, bounds) = (first + begin as usize, &mut bounds[..count as usize]);
            if high_first {
                best.vectors.high_bounds(first, best.query, bounds);
            } else {
                best.vectors.coarse_bounds(first, best.query, bounds);
            }
            let cut = best.cut;
            let passed = mask(bounds, |bound| bound >= cut) & (word >> begin);
            pending.drain(..).for_each(|row| push_if_near(best, row));
            if high_first {
                order.passed(passed.count_ones() as usize);
                for row in bits(passed).map(|bit| first as u32 + bit) {
                    best.vectors.prefetch_middle(row);
                    pending.push(row);
                }
            } else {
                bits(passed).for_each(|bit| best.push(first as u32 + bit));
            }
        }
    }
    pending.drain(..).for_each(|row| push_if_near(best, row));
}

/// Multiplies a row out unless the planes h and m exclude it.
fn push_if_near(best: &mut Best<'_>, row: u32) {
    let mut bound = [0.0];
    best.vectors.coarse_bounds(row as usize, best.query, &mut bound);
    if bound[0] >= best.cut {
        best.push(row);
    }
}

/// Yields the words of a set that have rows, each with the number of its first row.
fn words(rows: &Bitmap) -> impl Iterator<Item = (usize, u64)> {
    let words = rows.words().iter().enumerate();
    words.filter(|(_, word)| **word != 0).map(|(index, &word)| (index * WORD_BITS, word))
}

/// Yields ranges, as begin and count, that together have every bit of a word: one, or one a bit if there are few.
fn ranges(word: u64) -> impl Iterator<Item = (u32, u32)> {
    let (begin, end) = (word.trailing_zeros(), WORD_BITS as u32 - word.leading_zeros());
    let is_dense = word.count_ones() * MIN_DENSITY >= end - begin;
    let whole = is_dense.then_some((begin, end - begin));
    whole.into_iter().chain(bits(if is_dense { 0 } else { word }).map(|bit| (bit, 1)))
}

/// Returns the set of the bounds for which `passes` is true, at most 64.
fn mask(bounds: &[f32], passes: impl Fn(f32) -> bool) -> u64 {
    bounds.iter().enumerate().fold(0, |passed, (index, &bound)| passed | u64::from(passes(bound)) << index)
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
