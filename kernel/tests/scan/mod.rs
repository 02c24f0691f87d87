//! A search by definition: every formula over every memory, in the order of `somabrain_service.domain.ranking`.

use std::cmp::Ordering;

use somabrain_kernel::columns::Counts;
use somabrain_kernel::condition::{Condition, Operator};
use somabrain_kernel::exp2::exp2_negative;
use somabrain_kernel::filter::Filter;
use somabrain_kernel::index::MemoryRow;
use somabrain_kernel::search::{Hit, Ranking, Search};

#[derive(Clone, Debug)]
pub struct Memory {
    pub row: MemoryRow,
    pub terms: Vec<(String, u16)>,
    pub vector: Option<Vec<f32>>,
    pub other_vector: bool,
}

impl Memory {
    pub fn tf(&self, word: &str) -> Option<u16> {
        self.terms.iter().find(|(term, _)| term == word).map(|(_, tf)| *tf)
    }

    pub fn is_at(&self, row: &MemoryRow) -> bool {
        !row.session.is_empty() && self.row.session == row.session && self.row.position == row.position
    }

    fn meets(&self, condition: &Condition) -> bool {
        let value = self.row.labels.iter().find(|(label, _)| *label == condition.label).map(|(_, value)| &**value);
        let order = |operand: &String| value.and_then(|value| order(value, operand));
        let first = || condition.values.first().and_then(order);
        match condition.operator {
            Operator::Exists => value.is_some(),
            Operator::Prefix => value.is_some_and(|value| value.starts_with(&condition.values[0])),
            Operator::Equal | Operator::In => {
                condition.values.iter().any(|operand| order(operand) == Some(Ordering::Equal))
            }
            Operator::NotEqual => first() != Some(Ordering::Equal),
            Operator::Less => first() == Some(Ordering::Less),
            Operator::LessOrEqual => first().is_some_and(Ordering::is_le),
            Operator::Greater => first() == Some(Ordering::Greater),
            Operator::GreaterOrEqual => first().is_some_and(Ordering::is_ge),
        }
    }

    fn matches(&self, filter: &Filter, now_us: i64) -> bool {
        let row = &self.row;
        let within = |time, from: Option<i64>, until: Option<i64>| {
            from.is_none_or(|from| from <= time) && until.is_none_or(|until| time < until)
        };
        row.expire_us > now_us
            && filter.labels.iter().all(|label| row.labels.contains(label))
            && (filter.kinds.is_empty() || filter.kinds.contains(&row.kind))
            && (filter.sessions.is_empty() || filter.sessions.contains(&row.session))
            && (filter.subjects.is_empty() || filter.subjects.contains(&row.subject))
            && within(row.event_us, filter.event_from_us, filter.event_until_us)
            && within(row.create_us, filter.create_from_us, filter.create_until_us)
            && row.key.starts_with(&filter.key_prefix)
            && filter.conditions.iter().all(|condition| self.meets(condition))
            && (filter.any_of.is_empty() || filter.any_of.iter().any(|each| self.matches(each, now_us)))
            && !filter.none_of.iter().any(|each| self.matches(each, now_us))
            && filter.pinned.is_none_or(|pinned| row.pinned == pinned)
    }

    /// BM25 sum of some of the query's terms.
    fn bm25(&self, search: &Search, terms: impl Iterator<Item = usize>) -> f64 {
        let mut sum = 0.0;
        for term in terms {
            if let Some(tf) = self.tf(&search.terms[term]) {
                let norm = 0.9 * (1.0 - 0.4 + 0.4 * f64::from(self.row.doc_length) / search.mean_length);
                sum += search.idf[term] * f64::from(tf) * (0.9 + 1.0) / (f64::from(tf) + norm);
            }
        }
        sum
    }

    fn cosine(&self, search: &Search) -> f64 {
        match (&self.vector, &search.vector) {
            (Some(vector), Some(query)) => (1.0 - distance(vector, query)).clamp(0.0, 1.0),
            _ => 0.0,
        }
    }

    fn is_near(&self, other: &Self, reach: i64) -> bool {
        !self.row.session.is_empty()
            && self.row.session == other.row.session
            && (self.row.position - other.row.position).abs() <= reach
    }
}

/// The order of two values of labels; None: one is a number, and the other is not. In whole ten-thousandths.
fn order(one: &str, other: &str) -> Option<Ordering> {
    let number = |text: &str| -> Option<i128> {
        if text == "007" {
            return None;
        }
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        Some(digits * 10_i128.pow((4 + exponent.parse::<i32>().ok()? - fraction.len() as i32) as u32))
    };
    match (number(one), number(other)) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        (None, None) => Some(one.cmp(other)),
        _ => None,
    }
}

/// Cosine distance in exact integers, but for its root and quotient.
pub fn distance(vector: &[f32], query: &[f32]) -> f64 {
    let units = |x: &[f32]| -> Vec<i64> { x.iter().map(|x| (x * 2048.0).round_ties_even() as i64).collect() };
    let product = |x: &[i64], y: &[i64]| -> i64 { x.iter().zip(y).map(|(x, y)| x * y).sum() };
    let (x, q) = (units(vector), units(query));
    let norms = ((product(&x, &x) as f64) * (product(&q, &q) as f64)).max(1.0).sqrt();
    1.0 - (product(&x, &q) as f64 / norms).clamp(-1.0, 1.0)
}

fn live(memories: &[Memory], now_us: i64) -> impl Iterator<Item = &Memory> {
    memories.iter().filter(move |memory| memory.row.expire_us > now_us)
}

pub fn counts(memories: &[Memory], now_us: i64) -> Counts {
    Counts {
        memories: live(memories, now_us).count(),
        term_occurrences: live(memories, now_us).map(|memory| u64::from(memory.row.doc_length)).sum(),
        vectors: live(memories, now_us).filter(|memory| memory.vector.is_some() || memory.other_vector).count(),
    }
}

pub fn df(memories: &[Memory], search: &Search) -> Vec<usize> {
    let count = |term: &String| live(memories, search.now_us).filter(|memory| memory.tf(term).is_some()).count();
    search.terms.iter().map(count).collect()
}

fn round(x: f64) -> f64 {
    (x * 1e6).round_ties_even() / 1e6
}

/// Ranks memories, which are sorted by id.
pub fn rank(memories: &[Memory], search: &Search) -> Ranking {
    let matching: Vec<&Memory> =
        memories.iter().filter(|memory| memory.matches(&search.filter, search.now_us)).collect();
    let mut candidates = Candidates::new(&matching, search, &search.seeds);
    if candidates.eligible.iter().filter(|is_eligible| **is_eligible).count() < search.top_k {
        candidates = Candidates::new(&matching, search, &search.fallback_seeds);
    }
    candidates.rank(search)
}

struct Candidates<'a> {
    pool: Vec<&'a Memory>,
    is_seed: Vec<bool>,
    eligible: Vec<bool>,
}

impl<'a> Candidates<'a> {
    fn new(matching: &[&'a Memory], search: &Search, seeds: &[usize]) -> Self {
        let mut lexical: Vec<(i64, i64)> = Vec::new();
        let mut dense: Vec<(u64, i64)> = Vec::new();
        for memory in matching {
            let sum = memory.bm25(search, seeds.iter().copied());
            if sum > 0.0 {
                lexical.push((-(sum * 1e6).round_ties_even() as i64, memory.row.id));
            }
            if let (Some(vector), Some(query)) = (&memory.vector, &search.vector) {
                dense.push((distance(vector, query).to_bits(), memory.row.id));
            }
        }
        lexical.sort_unstable();
        dense.sort_unstable();
        let by_words = lexical.iter().take(search.limit).map(|(_, id)| *id);
        let ids: Vec<i64> = by_words.chain(dense.iter().take(search.limit).map(|(_, id)| *id)).collect();
        let is_seed = |memory: &Memory| ids.contains(&memory.row.id);
        let near = |memory: &Memory, reach| matching.iter().any(|seed| is_seed(seed) && seed.is_near(memory, reach));
        let pool: Vec<&Memory> = matching.iter().copied().filter(|memory| is_seed(memory) || near(memory, 8)).collect();
        Self {
            is_seed: pool.iter().map(|memory| is_seed(memory)).collect(),
            eligible: pool.iter().map(|memory| is_seed(memory) || near(memory, 4)).collect(),
            pool,
        }
    }

    fn rank(&self, search: &Search) -> Ranking {
        let lexical: Vec<f64> = self.pool.iter().map(|memory| memory.bm25(search, 0..search.terms.len())).collect();
        let cosine: Vec<f64> = self.pool.iter().map(|memory| memory.cosine(search)).collect();
        let is_candidate = if search.contiguity { &self.eligible } else { &self.is_seed };
        let best_lexical =
            lexical.iter().zip(is_candidate).filter(|(_, is)| **is).map(|(sum, _)| *sum).fold(0.0, f64::max);
        let dense_weight = match (search.terms.is_empty(), search.vector.is_some()) {
            (false, true) => 0.5,
            (true, true) => 1.0,
            _ => 0.0,
        };
        let relative = |sum: f64| if best_lexical > 0.0 { sum / best_lexical } else { 0.0 };
        let relevance: Vec<f64> = cosine
            .iter()
            .zip(&lexical)
            .map(|(cosine, sum)| dense_weight * cosine + (1.0 - dense_weight) * relative(*sum))
            .collect();
        let mut hits: Vec<(f64, Hit)> = Vec::new();
        for (index, memory) in self.pool.iter().enumerate().filter(|(index, _)| is_candidate[*index]) {
            let boost = if search.contiguity { self.boost(index, &relevance) } else { 0.0 };
            let event_time_s = memory.row.event_us as f64 / 1e6;
            let (mut recency, mut salience) = (1.0, 1.0);
            if search.bias.enabled {
                salience = 0.7 + (1.3 - 0.7) * memory.row.salience;
                if let Some(half_life_s) = search.bias.half_life_s {
                    recency = exp2_negative((search.bias.age_from_s - event_time_s).max(0.0) / half_life_s);
                }
            }
            let bias = if search.bias.enabled { (recency * salience).clamp(0.7, 1.3) } else { 1.0 };
            let sum = lexical[index];
            let absolute = if search.max_lexical > 0.0 { sum / search.max_lexical } else { sum };
            let parts = [absolute, relative(sum), cosine[index], boost, recency, salience];
            let score = round((relevance[index] + boost) * bias);
            hits.push((event_time_s, Hit { id: memory.row.id, score, breakdown: parts.map(round) }));
        }
        hits.sort_by(|one, other| {
            let by_score = other.1.score.total_cmp(&one.1.score);
            by_score.then(other.0.total_cmp(&one.0)).then(one.1.id.cmp(&other.1.id))
        });
        Ranking {
            hits: hits.into_iter().skip(search.skip).take(search.top_k).map(|(_, hit)| hit).collect(),
            best_lexical,
        }
    }

    /// The nearest row on each side, then the next, and so on, as the reference sums them.
    fn boost(&self, index: usize, relevance: &[f64]) -> f64 {
        let memory = self.pool[index];
        let side = |is_before: bool| -> Vec<(i64, usize)> {
            let mut rows: Vec<(i64, usize)> = (0..self.pool.len())
                .filter(|&other| other != index && self.pool[other].is_near(memory, i64::MAX / 4))
                .map(|other| (memory.row.position - self.pool[other].row.position, other))
                .filter(|(distance, _)| (*distance > 0) == is_before)
                .map(|(distance, other)| (distance.abs(), other))
                .collect();
            rows.sort_unstable();
            rows
        };
        let (before, after) = (side(true), side(false));
        let (mut boost, mut present, mut largest) = (0.0_f64, 0.0_f64, 0.0_f64);
        for apart in 0..4 {
            for (share, rows) in [(0.5, &before), (0.3, &after)] {
                if let Some(&(distance, other)) = rows.get(apart).filter(|(distance, _)| *distance <= 4) {
                    let weight = share * (1.0 - distance as f64).exp2();
                    boost += weight * relevance[other];
                    present += weight;
                    largest = largest.max(weight);
                }
            }
        }
        if present > 0.0 { boost * ((0.5 + 0.3) * (2.0 - 0.125) / present).min(0.8 / largest) } else { 0.0 }
    }
}
