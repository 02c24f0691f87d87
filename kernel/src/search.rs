//! A search: seeds, their pool, its scores, and the best of them.

use std::collections::HashMap;

use crate::bitmap::Bitmap;
use crate::bm25::{self, Norms};
use crate::dense;
use crate::filter::Filter;
use crate::index::Index;
use crate::lexical::{self, Term};
use crate::pool::Pool;
use crate::postings;
use crate::products::InstructionSet;
use crate::score::{self, Bias, Weights};
use crate::vectors::Query;

/// A query, as `somabrain_service.store.records.Search` describes it.
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
        let matching = search.filter.matching(&self.columns, &self.inverted_index, &self.sessions, search.now_us);
        let norms = Norms::new(search.mean_length);
        // Vectors of other dimensions have no product with the query; the service never asks for one.
        let query = search
            .vector
            .as_ref()
            .filter(|vector| vector.len() == self.vectors.dimensions())
            .map(|vector| Query::new(vector, instructions));
        let nearest = query.as_ref().map_or_else(Vec::new, |query| self.nearest(query, &matching, search.limit));
        let mut pool = self.pool(search, &search.seeds, &norms, &nearest, &matching);
        if pool.candidates() < search.top_k && search.seeds != search.fallback_seeds {
            pool = self.pool(search, &search.fallback_seeds, &norms, &nearest, &matching);
        }
        self.rank(search, &pool, &norms, query.as_ref())
    }

    fn nearest(&self, query: &Query, matching: &Bitmap, limit: usize) -> Vec<u32> {
        let mut rows = matching.clone();
        rows.intersect(&self.columns.has_current_vector);
        dense::top_k(&self.vectors, query, &rows, &self.columns.fields, limit)
    }

    fn pool(&self, search: &Search, seeds: &[usize], norms: &Norms, nearest: &[u32], matching: &Bitmap) -> Pool {
        let terms: Vec<Term<'_>> = seeds
            .iter()
            .map(|&number| Term {
                idf: search.idf[number],
                postings: self.inverted_index.named(&postings::term_key(&search.terms[number])),
            })
            .collect();
        let mut rows = lexical::top_k(&terms, norms, &self.columns, matching, search.limit);
        rows.extend_from_slice(nearest);
        rows.sort_unstable();
        rows.dedup();
        Pool::new(&rows, &self.columns, &self.sessions, matching)
    }

    fn rank(&self, search: &Search, pool: &Pool, norms: &Norms, query: Option<&Query>) -> Ranking {
        let lexical = self.lexical(search, pool, norms);
        let is_candidate = if search.contiguity { &pool.eligible } else { &pool.is_seed };
        let candidates: Vec<usize> = (0..pool.rows.len()).filter(|&index| is_candidate[index]).collect();
        let best_lexical = candidates.iter().map(|&index| lexical[index]).fold(0.0, f64::max);
        let weights = Weights::new(!search.terms.is_empty(), search.vector.is_some(), best_lexical);
        let cosine: Vec<f64> = pool.rows.iter().map(|&row| self.cosine(row, query)).collect();
        let relevance: Vec<f64> =
            cosine.iter().zip(&lexical).map(|(&cosine, &lexical)| weights.relevance(cosine, lexical)).collect();
        let positions: Vec<i64> = pool.rows.iter().map(|&row| self.columns.fields[row as usize].position).collect();
        let runs = score::runs_by_row(pool);

        let mut scored: Vec<Scored> = candidates
            .into_iter()
            .map(|index| {
                let fields = &self.columns.fields[pool.rows[index] as usize];
                let event_time_s = fields.event_us as f64 / 1e6;
                let boost = if search.contiguity {
                    score::contiguity(index, &runs[index], &positions, &relevance)
                } else {
                    0.0
                };
                let (recency, salience) = search.bias.factors(event_time_s, fields.salience);
                let bias = if search.bias.enabled { Bias::clamp(recency, salience) } else { 1.0 };
                let score = score::round((relevance[index] + boost) * bias);
                Scored { index, id: fields.id, score, event_time_s, boost, recency, salience }
            })
            .collect();
        if scored.len() > search.top_k && search.top_k > 0 {
            scored.select_nth_unstable_by(search.top_k - 1, Scored::order);
        }
        scored.truncate(search.top_k);
        scored.sort_unstable_by(Scored::order);
        let hits = scored.iter().map(|hit| {
            let lexical = lexical[hit.index];
            let absolute = if search.max_lexical > 0.0 { lexical / search.max_lexical } else { lexical };
            let parts = [absolute, weights.relative(lexical), cosine[hit.index], hit.boost, hit.recency, hit.salience];
            Hit { id: hit.id, score: hit.score, breakdown: parts.map(score::round) }
        });
        Ranking { hits: hits.collect(), best_lexical }
    }

    /// Returns the BM25 sums of a pool's rows, in the order of the query's terms.
    fn lexical(&self, search: &Search, pool: &Pool, norms: &Norms) -> Vec<f64> {
        let terms: HashMap<u32, usize> = search
            .terms
            .iter()
            .enumerate()
            .filter_map(|(number, term)| Some((self.inverted_index.key_id(&postings::term_key(term))?, number)))
            .collect();
        if terms.is_empty() {
            return vec![0.0; pool.rows.len()];
        }
        // One bit a key that is a query's term by its lowest bits: most keys of a row are none, and need no look-up.
        let mut sieve = [0_u64; SIEVE_BITS / 64];
        terms.keys().for_each(|key| sieve[*key as usize % SIEVE_BITS / 64] |= 1 << (key % 64));
        let mut matches: Vec<(usize, u16)> = Vec::new();
        let mut sums = Vec::with_capacity(pool.rows.len());
        for &row in &pool.rows {
            matches.clear();
            for entry in self.inverted_index.keys_of(row) {
                let key = entry.key;
                if sieve[key as usize % SIEVE_BITS / 64] >> (key % 64) & 1 == 1 {
                    matches.extend(terms.get(&key).map(|&number| (number, entry.tf)));
                }
            }
            matches.sort_unstable();
            let norm = norms.get(self.columns.doc_length[row as usize]);
            sums.push(matches.iter().fold(0.0, |sum, &(number, tf)| sum + bm25::part(search.idf[number], tf, norm)));
        }
        sums
    }

    /// Returns the cosine of a row, 0 to 1; 0 without a vector.
    fn cosine(&self, row: u32, query: Option<&Query>) -> f64 {
        match query {
            Some(query) if self.columns.has_current_vector.get(row) => {
                (1.0 - self.vectors.distance(row, query)).clamp(0.0, 1.0)
            }
            _ => 0.0,
        }
    }
}

const SIEVE_BITS: usize = 4096;

/// A candidate; `index` is its row in the pool.
struct Scored {
    index: usize,
    id: i64,
    score: f64,
    event_time_s: f64,
    boost: f64,
    recency: f64,
    salience: f64,
}

impl Scored {
    /// By score, then the newest event, then id.
    fn order(one: &Self, other: &Self) -> std::cmp::Ordering {
        other
            .score
            .total_cmp(&one.score)
            .then(other.event_time_s.total_cmp(&one.event_time_s))
            .then(one.id.cmp(&other.id))
    }
}
