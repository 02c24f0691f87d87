//! The best of a pool: scores only of memories that can still be among them.
//!
//! Every operation from relevance to a score is monotonic, in floating point, too: with upper bounds of cosines in
//! their place, the same operations give upper bounds of scores. Runs of neighbours are taken in the order of what any
//! of their rows can reach, and the first that cannot reach the k-th best score ends the search.

use std::cmp::Ordering;
use std::ops::Range;

use crate::columns::Columns;
use crate::dense::Nearest;
use crate::pool::{Pool, REACH};
use crate::score::{self, Bias, KERNEL_WEIGHT, MAX_SHARE, Weights};
use crate::top_k::TopK;
use crate::vectors::{QuantizedVectors, Query};

/// More than all roundings of what a run can reach, as a share, and than a score's rounding.
const SLACK: f64 = 1.0 + 1e-9;
const SLACK_SCORE: f64 = 1e-6;

/// A memory with its score and the numbers behind it; `index` is its row in the pool.
#[derive(Clone, Copy)]
pub struct Scored {
    pub index: usize,
    pub id: i64,
    pub score: f64,
    pub event_time_s: f64,
    pub boost: f64,
    pub recency: f64,
    pub salience: f64,
}

impl Ord for Scored {
    /// By score, then the newest event, then id: the best is the least.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = other.score.total_cmp(&self.score);
        by_score.then(other.event_time_s.total_cmp(&self.event_time_s)).then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scored {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scored {}

/// Cosines of rows to a query.
pub struct Cosines<'a> {
    pub vectors: &'a QuantizedVectors,
    /// None: no vectors are compared.
    pub query: Option<&'a Query>,
    pub nearest: &'a Nearest,
}

impl Cosines<'_> {
    /// Returns the cosine of a row or an upper bound of it, 0 to 1, and whether it is the cosine.
    ///
    /// `is_seed`: the row may be one of the nearest.
    fn bound(&self, row: u32, is_seed: bool, columns: &Columns) -> (f64, bool) {
        if self.query.is_none() || !columns.has_current_vector.get(row) {
            return (0.0, true);
        }
        let nearest = if is_seed { &*self.nearest.cosines } else { &[] };
        if let Ok(index) = nearest.binary_search_by_key(&row, |&(row, _)| row) {
            return (nearest[index].1.clamp(0.0, 1.0), true);
        }
        let of_row = self.nearest.bounds.get(row as usize).map_or(1.0, |&bound| f64::from(bound));
        (of_row.min(self.nearest.others).clamp(0.0, 1.0), false)
    }

    /// Returns the cosine of a row, 0 to 1; 0 without a vector.
    fn exact(&self, row: u32, columns: &Columns) -> f64 {
        match self.query {
            Some(query) if columns.has_current_vector.get(row) => {
                (1.0 - self.vectors.distance(row, query)).clamp(0.0, 1.0)
            }
            _ => 0.0,
        }
    }
}

/// Scores a pool's rows.
pub struct Ranker<'a> {
    columns: &'a Columns,
    pool: &'a Pool,
    positions: Vec<i64>,
    lexical: &'a [f64],
    cosines: Cosines<'a>,
    weights: Weights,
    contiguity: bool,
    bias: Bias,
    /// By row of the pool: cosine and relevance, or upper bounds of both where `is_exact` is false.
    cosine: Vec<f64>,
    relevance: Vec<f64>,
    is_exact: Vec<bool>,
}

impl<'a> Ranker<'a> {
    /// `lexical` has the BM25 sums of the pool's rows.
    pub fn new(
        columns: &'a Columns,
        pool: &'a Pool,
        lexical: &'a [f64],
        cosines: Cosines<'a>,
        weights: Weights,
        contiguity: bool,
        bias: Bias,
    ) -> Self {
        let (cosine, is_exact): (Vec<f64>, Vec<bool>) =
            pool.rows.iter().zip(&pool.is_seed).map(|(&row, &seed)| cosines.bound(row, seed, columns)).unzip();
        let relevance =
            cosine.iter().zip(lexical).map(|(&cosine, &lexical)| weights.relevance(cosine, lexical)).collect();
        let positions = pool.rows.iter().map(|&row| columns.fields[row as usize].position).collect();
        Self { columns, pool, positions, lexical, cosines, weights, contiguity, bias, cosine, relevance, is_exact }
    }

    /// Returns the `limit` best of the candidates, best first.
    pub fn top_k(&mut self, limit: usize) -> Vec<Scored> {
        let mut runs: Vec<(f64, &Range<usize>)> = self.pool.runs.iter().map(|run| (self.reachable(run), run)).collect();
        runs.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
        let salience = |row: &u32| self.columns.fields[*row as usize].salience;
        let max_bias = self.bias.max_factor(self.pool.rows.iter().map(salience).fold(0.0, f64::max));
        let is_candidate = if self.contiguity { &self.pool.eligible } else { &self.pool.is_seed };
        let mut best: TopK<Scored> = TopK::new(limit);
        for (reachable, run) in runs {
            let cut = best.cut().map_or(f64::NEG_INFINITY, |scored| scored.score);
            if reachable * max_bias * SLACK + SLACK_SCORE < cut {
                break;
            }
            for index in run.clone().filter(|&index| is_candidate[index]) {
                let cut = best.cut().map_or(f64::NEG_INFINITY, |scored| scored.score);
                if self.scored(index, run).score >= cut {
                    self.multiply_out(index, run);
                    best.push(self.scored(index, run));
                }
            }
        }
        let mut scored = best.finish();
        scored.sort_unstable();
        scored
    }

    /// Returns the exact cosine of a row of the pool that `top_k` returned.
    pub fn cosine(&self, index: usize) -> f64 {
        self.cosine[index]
    }

    /// Returns an upper bound, but for roundings, of relevance and boost of any row of a run.
    fn reachable(&self, run: &Range<usize>) -> f64 {
        let relevance = &self.relevance[run.clone()];
        let most = relevance.iter().copied().fold(0.0, f64::max);
        if !self.contiguity {
            return most;
        }
        // The weights of neighbours add up to KERNEL_WEIGHT, and each is at most MAX_SHARE.
        let sum: f64 = relevance.iter().sum();
        (most + KERNEL_WEIGHT * most).min(MAX_SHARE * sum + (1.0 - MAX_SHARE) * most)
    }

    /// Returns a row with its score; where relevance is bounded, with an upper bound of it.
    fn scored(&self, index: usize, run: &Range<usize>) -> Scored {
        let fields = &self.columns.fields[self.pool.rows[index] as usize];
        let boost = if self.contiguity { score::contiguity(index, run, &self.positions, &self.relevance) } else { 0.0 };
        let event_time_s = fields.event_us as f64 / 1e6;
        let (recency, salience) = self.bias.factors(event_time_s, fields.salience);
        let score = score::round((self.relevance[index] + boost) * self.bias.factor(recency, salience));
        Scored { index, id: fields.id, score, event_time_s, boost, recency, salience }
    }

    /// Computes the relevance of a row and of its neighbours.
    fn multiply_out(&mut self, index: usize, run: &Range<usize>) {
        let reach = if self.contiguity { REACH as usize } else { 0 };
        for near in index.saturating_sub(reach).max(run.start)..(index + reach + 1).min(run.end) {
            if !self.is_exact[near] {
                self.cosine[near] = self.cosines.exact(self.pool.rows[near], self.columns);
                self.relevance[near] = self.weights.relevance(self.cosine[near], self.lexical[near]);
                self.is_exact[near] = true;
            }
        }
    }
}
