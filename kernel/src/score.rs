//! Scores of a pool, with the constants and the order of operations of `somabrain_service.domain.ranking`.
//!
//!     relevance = w · cosine + (1 - w) · bm25 / best bm25          w = 1/2 with both text and vector
//!     score     = (relevance + contiguity) · clamp(recency · salience, 0.7, 1.3)
//!
//! A further part of relevance is a further argument of `Weights::relevance`, and a further bound in `rank`; everything
//! after it takes relevance as it is.

use crate::exp2::exp2_negative;
use crate::pool::REACH;

const DENSE_WEIGHT: f64 = 0.5;
const BIAS_LOW: f64 = 0.7;
const BIAS_HIGH: f64 = 1.3;
const FORWARD_WEIGHT: f64 = 0.5;
const BACKWARD_WEIGHT: f64 = 0.3;
/// The most that one neighbour contributes.
pub const MAX_SHARE: f64 = 0.8;
/// Sum of the weights of all neighbours: (forward + backward) · (2 - 2^(1 - REACH)).
pub const KERNEL_WEIGHT: f64 = (FORWARD_WEIGHT + BACKWARD_WEIGHT) * (2.0 - 0.125);
/// 2^(1 - Δ) by Δ.
const DECAY: [f64; REACH as usize + 1] = [2.0, 1.0, 0.5, 0.25, 0.125];
const UNITS: f64 = 1e6;

/// Rounds to six decimals, as numpy does.
pub fn round(x: f64) -> f64 {
    (x * UNITS).round_ties_even() / UNITS
}

/// How the parts of relevance are weighed.
#[derive(Clone, Copy)]
pub struct Weights {
    dense: f64,
    best_lexical: f64,
}

impl Weights {
    pub fn new(words: bool, vector: bool, best_lexical: f64) -> Self {
        let dense = match (words, vector) {
            (true, true) => DENSE_WEIGHT,
            (_, true) => 1.0,
            _ => 0.0,
        };
        Self { dense, best_lexical }
    }

    /// Returns a lexical score relative to the best.
    pub fn relative(&self, lexical: f64) -> f64 {
        if self.best_lexical > 0.0 { lexical / self.best_lexical } else { 0.0 }
    }

    pub fn relevance(&self, cosine: f64, lexical: f64) -> f64 {
        self.dense * cosine + (1.0 - self.dense) * self.relative(lexical)
    }
}

/// Factors of a score besides relevance and contiguity.
#[derive(Clone, Copy, Debug)]
pub struct Bias {
    pub enabled: bool,
    /// Time that age is measured from, in seconds since 1970.
    pub age_from_s: f64,
    /// Half-life of recency; None: age does not count.
    pub half_life_s: Option<f64>,
}

impl Bias {
    /// Returns recency and salience as they are shown.
    pub fn factors(&self, event_time_s: f64, salience: f64) -> (f64, f64) {
        if !self.enabled {
            return (1.0, 1.0);
        }
        let recency = match self.half_life_s {
            None => 1.0,
            Some(half_life_s) => exp2_negative((self.age_from_s - event_time_s).max(0.0) / half_life_s),
        };
        (recency, BIAS_LOW + (BIAS_HIGH - BIAS_LOW) * salience)
    }

    /// Returns what a sum is multiplied by.
    pub fn factor(&self, recency: f64, salience: f64) -> f64 {
        if self.enabled { (recency * salience).clamp(BIAS_LOW, BIAS_HIGH) } else { 1.0 }
    }

    /// Returns the highest factor of memories with at most this salience.
    pub fn max_factor(&self, max_salience: f64) -> f64 {
        let (_, salience) = self.factors(f64::INFINITY, max_salience);
        self.factor(1.0, salience)
    }
}

/// Returns the boost of a row from its neighbours, by their relevance.
///
/// `index` is in the pool; `run` is its run there; `positions` are those of the pool's rows.
pub fn contiguity(index: usize, run: &std::ops::Range<usize>, positions: &[i64], relevance: &[f64]) -> f64 {
    let (mut boost, mut present_weight, mut largest) = (0.0_f64, 0.0_f64, 0.0_f64);
    let mut add = |share: f64, source: usize, distance: i64| {
        let weight = share * DECAY[distance as usize];
        boost += weight * relevance[source];
        present_weight += weight;
        largest = largest.max(weight);
    };
    // In the order of the reference: by rows apart, and of these the earlier first.
    for apart in 1..=REACH as usize {
        if index >= run.start + apart {
            let distance = positions[index] - positions[index - apart];
            if distance <= REACH {
                add(FORWARD_WEIGHT, index - apart, distance);
            }
        }
        if index + apart < run.end {
            let distance = positions[index + apart] - positions[index];
            if distance <= REACH {
                add(BACKWARD_WEIGHT, index + apart, distance);
            }
        }
    }
    if present_weight > 0.0 { boost * (KERNEL_WEIGHT / present_weight).min(MAX_SHARE / largest) } else { 0.0 }
}
