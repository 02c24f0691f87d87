//! A search: seeds, their pool, its scores, and the best of them.

use std::sync::Arc;

use crate::bitmap::Bitmap;
use crate::bm25::Norms;
use crate::dense::{self, Nearest, Scan};
use crate::filter::Filter;
use crate::index::Index;
use crate::lexical::{self, Term};
use crate::pool::Pool;
use crate::postings;
use crate::products::InstructionSet;
use crate::rank::{Cosines, Ranker};
use crate::score::{self, Bias, Weights};
use crate::shared_scans;
use crate::term_scores;
use crate::vectors::Query;

/// A query, as `somabrain_service.store.records.Search` describes it.
#[derive(Clone, Debug)]
pub struct Search {
    pub now_us: i64,
    pub terms: Vec<String>,
    pub idf: Vec<f64>,
    /// Positions in `terms` of the terms that select candidates.
    pub seeds: Vec<usize>,
    /// The same if there are fewer candidates than `top_k`.
    pub fallback_seeds: Vec<usize>,
    pub mean_length: f64,
    /// Upper bound of BM25 for the query.
    pub max_lexical: f64,
    pub vector: Option<Vec<f32>>,
    pub filter: Filter,
    /// Maximum seeds by words, and by vector.
    pub limit: usize,
    pub top_k: usize,
    /// Number of the best hits to leave out.
    pub skip: usize,
    pub contiguity: bool,
    pub bias: Bias,
}

/// A memory with its score and the parts of it: lexical, lexical relative, dense, contiguity, recency, salience.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    pub id: i64,
    pub score: f64,
    pub breakdown: [f64; 6],
}

/// The best memories, best first, and the best BM25 sum of all candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    pub hits: Vec<Hit>,
    pub best_lexical: f64,
}

impl Index {
    pub fn search(&self, search: &Search, instructions: InstructionSet) -> Ranking {
        let matching = search.filter.matching(self, search.now_us);
        let norms = Norms::new(search.mean_length);
        // Vectors of other dimensions have no product with the query; the service never asks for one.
        let scan = search
            .vector
            .as_ref()
            .filter(|vector| vector.len() == self.vectors.dimensions())
            .map(|vector| self.scan(Query::new(vector, instructions), &matching, search.limit));
        let nearest = scan.as_ref().map_or_else(Nearest::default, |scan| self.nearest(scan));
        let mut pool = self.pool(search, &search.seeds, &norms, &nearest, &matching);
        if pool.candidates() < search.top_k && search.seeds != search.fallback_seeds {
            pool = self.pool(search, &search.fallback_seeds, &norms, &nearest, &matching);
        }
        let cosines =
            Cosines { vectors: &self.vectors, query: scan.as_ref().map(|scan| &scan.query), nearest: &nearest };
        self.rank(search, &pool, &norms, cosines)
    }

    fn scan(&self, query: Query, matching: &Bitmap, limit: usize) -> Arc<Scan> {
        let mut rows = matching.clone();
        rows.intersect(&self.columns.has_current_vector);
        Arc::new(Scan { query, rows, limit })
    }

    fn nearest(&self, scan: &Arc<Scan>) -> Nearest {
        let scan_all = |scans: &[&Scan]| dense::top_k(&self.vectors, scans, &self.columns.fields);
        if self.columns.memories() > shared_scans::MAX_UNSHARED {
            self.shared_scans.run(scan, scan_all)
        } else {
            scan_all(&[scan]).pop().unwrap_or_default()
        }
    }

    fn pool(&self, search: &Search, seeds: &[usize], norms: &Norms, nearest: &Nearest, matching: &Bitmap) -> Pool {
        let terms: Vec<Term<'_>> = seeds
            .iter()
            .map(|&number| Term {
                idf: search.idf[number],
                postings: self.inverted_index.named(&postings::term_key(&search.terms[number])),
            })
            .collect();
        let mut rows = lexical::top_k(&terms, norms, &self.columns, matching, search.limit);
        rows.extend(nearest.cosines.iter().map(|&(row, _)| row));
        rows.sort_unstable();
        rows.dedup();
        Pool::new(&rows, &self.columns, &self.sessions, matching)
    }

    fn rank(&self, search: &Search, pool: &Pool, norms: &Norms, cosines: Cosines<'_>) -> Ranking {
        let lexical =
            term_scores::sums(&search.terms, &search.idf, &pool.rows, norms, &self.inverted_index, &self.columns);
        let is_candidate = if search.contiguity { &pool.eligible } else { &pool.is_seed };
        let of_candidates = lexical.iter().zip(is_candidate).filter(|(_, is_candidate)| **is_candidate);
        let best_lexical = of_candidates.map(|(&sum, _)| sum).fold(0.0, f64::max);
        let weights = Weights::new(!search.terms.is_empty(), search.vector.is_some(), best_lexical);
        let mut ranker = Ranker::new(&self.columns, pool, &lexical, cosines, weights, search.contiguity, search.bias);
        let scored = ranker.top_k(search.skip + search.top_k);
        let hits = scored.iter().skip(search.skip).map(|hit| {
            let sum = lexical[hit.index];
            let absolute = if search.max_lexical > 0.0 { sum / search.max_lexical } else { sum };
            let (relative, cosine) = (weights.relative(sum), ranker.cosine(hit.index));
            let parts = [absolute, relative, cosine, hit.boost, hit.recency, hit.salience];
            Hit { id: hit.id, score: hit.score, breakdown: parts.map(score::round) }
        });
        Ranking { hits: hits.collect(), best_lexical }
    }
}
