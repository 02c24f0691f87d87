//! The best memories by vector, exact: bounds from a part of the planes decide which few are multiplied out.
//!
//! A row whose upper bound is below the cosines of k others cannot be among the k nearest.
//!
//! Rows are taken in chunks. The planes h and m bound every row of a chunk; the rows that promise most are multiplied
//! out, which gives the k-th highest cosine so far, and then the few others that may still reach it. Once there is such a
//! cosine, h alone may exclude most rows, as in a large namespace: then it is read first, with half of the bytes, and m
//! only for rows that it does not exclude.

use crate::bitmap::{Bitmap, WORD_BITS};
use crate::columns::Fields;
use crate::top_k::TopK;
use crate::vectors::{QuantizedVectors, Query};

/// Rows of a chunk: their bounds take 256 KiB. Those of a namespace that is one chunk are used by the ranking once more.
const CHUNK_ROWS: usize = 1 << 16;
/// Bins of a histogram of bounds, from -1 to 1.
const BINS: usize = 512;
/// Rows after which it is decided which planes are read first.
const TRIAL_ROWS: usize = 4096;
/// Number of trials' rows until the plane h alone is tried again.
const TRIALS_UNTIL_RETRY: usize = 64;
/// Share of rows that the plane h must exclude to be worth reading on its own: the others' m is read out of order.
const MIN_EXCLUDED: f64 = 0.92;
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
    let mut order = PlaneOrder::default();
    let mut bounds = Vec::new();
    for (number, words) in rows.words().chunks(CHUNK_ROWS / WORD_BITS).enumerate() {
        let first = number * CHUNK_ROWS;
        bounds.clear();
        bounds.resize(CHUNK_ROWS.min(fields.len() - first), f32::NEG_INFINITY);
        write_bounds(&best, first, words, &mut order, &mut bounds);
        push_best_first(&mut best, first as u32, &bounds, limit);
    }
    if fields.len() > CHUNK_ROWS {
        bounds = Vec::new();
    }
    let nearest = best.keys.finish().into_iter().map(|(distance, _, row)| (row, 1.0 - f64::from_bits(distance)));
    let mut cosines: Vec<(u32, f64)> = nearest.collect();
    cosines.sort_unstable_by_key(|&(row, _)| row);
    // Nothing else was compared if these are fewer than `limit`.
    let others = cosines.iter().map(|&(_, cosine)| cosine).fold(1.0, f64::min);
    Nearest { cosines, others, bounds }
}

/// Writes an upper bound of the cosine of each row of a chunk, from the planes h and m, or from h if that excludes it.
///
/// `first` is the chunk's first row; `words` are the sets of rows that are compared.
fn write_bounds(best: &Best<'_>, first: usize, words: &[u64], order: &mut PlaneOrder, bounds: &mut [f32]) {
    // Rows that h did not exclude: their plane m is on its way while the next rows are read.
    let mut pending: Vec<u32> = Vec::with_capacity(2 * WORD_BITS);
    let coarse_bound = |row: u32, bounds: &mut [f32]| {
        let index = row as usize - first;
        best.vectors.coarse_bounds(row as usize, best.query, &mut bounds[index..=index]);
    };
    for (index, &word) in words.iter().enumerate().filter(|(_, word)| **word != 0) {
        let high_first = best.cut > f32::NEG_INFINITY && order.high_first(word.count_ones() as usize);
        for (begin, count) in ranges(word) {
            let begin_row = index * WORD_BITS + begin as usize;
            let bounds_of_range = &mut bounds[begin_row..begin_row + count as usize];
            if high_first {
                best.vectors.high_bounds(first + begin_row, best.query, bounds_of_range);
            } else {
                best.vectors.coarse_bounds(first + begin_row, best.query, bounds_of_range);
            }
            let compared = word >> begin;
            let partly = if compared == u64::MAX { 0 } else { bounds_of_range.len() };
            for (offset, bound) in bounds_of_range[..partly].iter_mut().enumerate() {
                *bound = if compared >> offset & 1 == 1 { *bound } else { f32::NEG_INFINITY };
            }
            if high_first {
                let passed = mask(bounds_of_range, |bound| bound >= best.cut);
                order.passed(passed.count_ones() as usize);
                pending.drain(..).for_each(|row| coarse_bound(row, bounds));
                for row in bits(passed).map(|bit| (first + begin_row) as u32 + bit) {
                    best.vectors.prefetch_middle(row);
                    pending.push(row);
                }
            }
        }
    }
    pending.drain(..).for_each(|row| coarse_bound(row, bounds));
}

/// Multiplies out the rows of a chunk with the highest bounds, then those that may still be nearer than the k-th.
fn push_best_first(best: &mut Best<'_>, first: u32, bounds: &[f32], limit: usize) {
    if best.cut > f32::NEG_INFINITY {
        // Few rows of a later chunk reach the k-th best of the former ones: any order will do.
        push_reaching(best, first, bounds, |_| true);
        return;
    }
    let mut histogram = [0_usize; BINS];
    bounds.iter().for_each(|&bound| histogram[bin(bound)] += 1);
    let mut promising = 0;
    let first_bin = (0..BINS).rev().find(|&number| {
        promising += histogram[number];
        promising >= limit
    });
    // The lowest bin has the rows that are not compared as well.
    let first_bin = first_bin.unwrap_or(0);
    push_reaching(best, first, bounds, |bound| bin(bound) >= first_bin);
    push_reaching(best, first, bounds, |bound| bin(bound) < first_bin);
}

/// Multiplies out the rows that reach the k-th best, of those whose bound is as `is_due` says.
fn push_reaching(best: &mut Best<'_>, first: u32, bounds: &[f32], is_due: impl Fn(f32) -> bool) {
    for (offset, group) in (0..).step_by(WORD_BITS).zip(bounds.chunks(WORD_BITS)) {
        let cut = best.cut;
        let passed = mask(group, |bound| bound >= cut && bound > f32::NEG_INFINITY);
        bits(passed).filter(|&bit| is_due(group[bit as usize])).for_each(|bit| best.push(first + offset + bit));
    }
    best.keys.prune();
    best.update_cut();
}

/// Returns the bin of a bound; higher bounds have no lower bins.
fn bin(bound: f32) -> usize {
    // The conversion gives 0 for what is below it.
    (((bound + 1.0) * (BINS as f32 / 2.0)) as usize).min(BINS - 1)
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
struct PlaneOrder {
    high_first: bool,
    /// Rows of this trial, and how many of them h did not exclude.
    rows: usize,
    passed: usize,
    trials: usize,
}

impl Default for PlaneOrder {
    fn default() -> Self {
        Self { high_first: true, rows: 0, passed: 0, trials: 0 }
    }
}

impl PlaneOrder {
    fn high_first(&mut self, rows: usize) -> bool {
        if self.rows >= TRIAL_ROWS {
            if self.high_first {
                self.high_first = (self.passed as f64) <= (1.0 - MIN_EXCLUDED) * self.rows as f64;
                self.trials = 0;
            } else {
                self.trials += 1;
                // Again from time to time, because the cut rises.
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
