//! The nearest memories by vector, exact: bounds from a part of the planes decide which few are multiplied out.
//!
//! A row whose upper bound is below the lower bounds of k others is not among the k nearest. So one pass over the planes h
//! and m keeps the k-th highest lower bound so far, and the rows that reach it; those that still do at the end are
//! multiplied out. In a large namespace that bound may let h alone exclude most rows: then h is read first, with half of
//! the bytes, and m only for rows that it does not exclude.
//!
//! Scans of several queries go through the rows together, 64 rows at a time: their planes stay in the processor's nearest
//! cache, so that the memory, which is slower than the products, is read once for all queries.

use std::cmp::Reverse;

use crate::bitmap::{Bitmap, WORD_BITS};
use crate::columns::Fields;
use crate::products;
use crate::top_k::TopK;
use crate::vectors::{QuantizedVectors, Query};

/// Rows of a namespace whose bounds are kept for the ranking: they take 256 KiB.
pub const MAX_KEPT_ROWS: usize = 1 << 16;
/// Rows after which it is decided which planes are read first.
const TRIAL_ROWS: usize = 4096;
/// Number of trials' rows until the plane h alone is tried again.
const TRIALS_UNTIL_RETRY: usize = 64;
/// Share of rows that the plane h must exclude to be worth reading on its own: the others' m is read out of order.
const MIN_EXCLUDED: f64 = 0.92;
/// A word with fewer rows than this part of its range is read row by row.
const MIN_DENSITY: u32 = 3;
/// Rows that reached the cut at some time, as a multiple of those that are wanted, beyond which the others are dropped.
const MAX_REACHING: usize = 8;
/// Rows that are asked of memory before they are multiplied out.
const AHEAD: usize = 4;

/// A query, the rows that it is compared with, all of which have vectors, and how many are wanted.
pub struct Scan {
    pub query: Query,
    pub rows: Bitmap,
    pub limit: usize,
}

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

/// Returns the nearest rows of each scan; ties go to the lowest ids. The queries are of one instruction set.
pub fn top_k(vectors: &QuantizedVectors, scans: &[&Scan], fields: &[Fields]) -> Vec<Nearest> {
    let mut all: Vec<Progress<'_>> = scans.iter().map(|scan| Progress::new(vectors, scan, fields.len())).collect();
    for word in 0..fields.len().div_ceil(WORD_BITS) {
        let (fours, rest) = all.split_at_mut(scans.len() / 4 * 4);
        let (twos, rest) = rest.split_at_mut(rest.len() / 2 * 2);
        fours.chunks_exact_mut(4).for_each(|four| compare::<4>(four, word));
        twos.chunks_exact_mut(2).for_each(|two| compare::<2>(two, word));
        rest.chunks_exact_mut(1).for_each(|one| compare::<1>(one, word));
    }
    all.into_iter().map(|one| one.finish(fields)).collect()
}

/// Compares the rows of a word of the bitmap with Q queries, which are multiplied together where rows are alike.
fn compare<const Q: usize>(all: &mut [Progress<'_>], word: usize) {
    let mut bounds = [[f32::NEG_INFINITY; WORD_BITS]; Q];
    let planes: [Planes; Q] = std::array::from_fn(|number| all[number].planes(word));
    let whole = all.iter().all(|one| one.scan.rows.words()[word] == u64::MAX);
    if whole && planes.iter().all(|of_query| *of_query == planes[0]) {
        let (vectors, queries) = (all[0].vectors, std::array::from_fn(|number| &all[number].scan.query));
        write_bounds(vectors, planes[0], word * WORD_BITS, queries, bounds.each_mut().map(|bounds| &mut bounds[..]));
    } else {
        for (number, one) in all.iter().enumerate() {
            for (begin, count) in ranges(one.scan.rows.words()[word]) {
                let (begin, count) = (begin as usize, count as usize);
                let of_range = [&mut bounds[number][begin..begin + count]];
                write_bounds(one.vectors, planes[number], word * WORD_BITS + begin, [&one.scan.query], of_range);
            }
        }
    }
    for (number, one) in all.iter_mut().enumerate() {
        one.take(word, planes[number], &bounds[number]);
    }
}

fn write_bounds<const Q: usize>(
    vectors: &QuantizedVectors,
    planes: Planes,
    first: usize,
    queries: [&Query; Q],
    bounds: [&mut [f32]; Q],
) {
    match planes {
        Planes::High => vectors.high_bounds(first, queries, bounds),
        Planes::HighAndMiddle => vectors.coarse_bounds(first, queries, bounds),
    }
}

/// The planes that are read for every row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Planes {
    High,
    HighAndMiddle,
}

/// How far a scan is.
struct Progress<'a> {
    vectors: &'a QuantizedVectors,
    scan: &'a Scan,
    /// See `Nearest`.
    bounds: Vec<f32>,
    order: PlaneOrder,
    /// Rows that h does not exclude: their m is on its way from memory.
    pending: Vec<u32>,
    /// The highest lower bounds so far.
    lower: TopK<Reverse<Ordered>>,
    /// The k-th highest of them, or less.
    cut: f32,
    /// Rows that reached the cut, with their upper bounds.
    reaching: Vec<(f32, u32)>,
}

impl<'a> Progress<'a> {
    fn new(vectors: &'a QuantizedVectors, scan: &'a Scan, rows: usize) -> Self {
        Self {
            vectors,
            scan,
            bounds: vec![f32::NEG_INFINITY; if rows <= MAX_KEPT_ROWS { rows } else { 0 }],
            order: PlaneOrder::default(),
            pending: Vec::with_capacity(WORD_BITS),
            lower: TopK::new(scan.limit),
            cut: f32::NEG_INFINITY,
            reaching: Vec::new(),
        }
    }

    /// Decides which planes are read for the rows of a word of the bitmap.
    fn planes(&mut self, word: usize) -> Planes {
        let rows = self.scan.rows.words()[word].count_ones() as usize;
        // Bounds that are kept are those of both planes.
        let may_skip = self.bounds.is_empty() && self.cut > f32::NEG_INFINITY;
        if may_skip && self.order.high_first(rows) { Planes::High } else { Planes::HighAndMiddle }
    }

    /// Takes the upper bounds of the rows of a word of the bitmap; what they are of other rows does not matter.
    fn take(&mut self, word: usize, planes: Planes, bounds: &[f32; WORD_BITS]) {
        let (compared, first) = (self.scan.rows.words()[word], word * WORD_BITS);
        if compared == u64::MAX && !self.bounds.is_empty() {
            self.bounds[first..first + WORD_BITS].copy_from_slice(bounds);
        } else if !self.bounds.is_empty() {
            bits(compared).for_each(|bit| self.bounds[first + bit as usize] = bounds[bit as usize]);
        }
        self.bound_pending();
        let passed = compared & self.scan.query.instructions.reaching(bounds, self.cut);
        if planes == Planes::High {
            self.order.passed(passed.count_ones() as usize);
            for row in bits(passed).map(|bit| first as u32 + bit) {
                self.vectors.prefetch_middle(row);
                self.pending.push(row);
            }
        } else {
            bits(passed).for_each(|bit| self.add(first as u32 + bit, bounds[bit as usize]));
        }
    }

    /// Bounds the pending rows by m, too.
    fn bound_pending(&mut self) {
        for index in 0..self.pending.len() {
            let mut bound = [0.0];
            self.vectors.coarse_bounds(self.pending[index] as usize, [&self.scan.query], [&mut bound]);
            self.add(self.pending[index], bound[0]);
        }
        self.pending.clear();
    }

    /// Adds a row with its upper bound from the planes h and m, if it reaches the cut.
    fn add(&mut self, row: u32, bound: f32) {
        if bound < self.cut {
            return;
        }
        self.reaching.push((bound, row));
        let lower = self.vectors.lower_bound(row, &self.scan.query, bound);
        if self.lower.push(Reverse(Ordered(lower))) {
            self.update_cut();
        }
    }

    fn update_cut(&mut self) {
        if let Some(Reverse(Ordered(lower))) = self.lower.cut() {
            self.cut = lower;
        }
        if self.reaching.len() > MAX_REACHING * self.scan.limit {
            self.drop_excluded();
        }
    }

    /// Drops rows that no longer reach the cut.
    fn drop_excluded(&mut self) {
        let cut = self.cut;
        self.reaching.retain(|&(bound, _)| bound >= cut);
    }

    /// Multiplies out the rows that reach the k-th highest lower bound of all.
    fn finish(mut self, fields: &[Fields]) -> Nearest {
        self.bound_pending();
        self.lower.prune();
        self.update_cut();
        self.drop_excluded();
        let rows: Vec<u32> = self.reaching.iter().map(|&(_, row)| row).collect();
        let mut keys = TopK::new(self.scan.limit);
        for (index, &row) in rows.iter().enumerate() {
            if let Some(&row) = rows.get(index + AHEAD) {
                self.vectors.prefetch(row);
                products::prefetch(&fields[row as usize..=row as usize]);
            }
            // Distances are never negative, so their bits are in their order.
            let distance = self.vectors.distance(row, &self.scan.query).to_bits();
            keys.push((distance, fields[row as usize].id, row));
        }
        let nearest = keys.finish().into_iter().map(|(distance, _, row)| (row, 1.0 - f64::from_bits(distance)));
        let mut cosines: Vec<(u32, f64)> = nearest.collect();
        cosines.sort_unstable_by_key(|&(row, _)| row);
        // Nothing else was compared if these are fewer than `limit`.
        let others = cosines.iter().map(|&(_, cosine)| cosine).fold(1.0, f64::min);
        Nearest { cosines, others, bounds: self.bounds }
    }
}

/// A number in the total order of numbers.
#[derive(Clone, Copy)]
struct Ordered(f32);

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered {}

/// Yields ranges, as begin and count, that together have every bit of a word: one, or one a bit if there are few.
fn ranges(word: u64) -> impl Iterator<Item = (u32, u32)> {
    let (begin, end) = (word.trailing_zeros(), WORD_BITS as u32 - word.leading_zeros());
    let is_dense = word.count_ones() * MIN_DENSITY >= end - begin;
    let whole = is_dense.then_some((begin, end - begin));
    whole.into_iter().chain(bits(if is_dense { 0 } else { word }).map(|bit| (bit, 1)))
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
