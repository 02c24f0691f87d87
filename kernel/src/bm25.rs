//! BM25 with the constants and the order of operations of `somabrain_service.domain.ranking.bm25`.

pub const K1: f64 = 0.9;
pub const B: f64 = 0.4;
/// Longest document whose norm is looked up; a longer one's is computed.
const MAX_LENGTH: usize = 1024;

/// Norms by document length for one mean length.
pub struct Norms {
    mean_length: f64,
    table: Vec<f64>,
}

impl Norms {
    pub fn new(mean_length: f64) -> Self {
        let table = (0..MAX_LENGTH).map(|length| norm(length as f64, mean_length)).collect();
        Self { mean_length, table }
    }

    #[inline]
    pub fn get(&self, doc_length: u32) -> f64 {
        match self.table.get(doc_length as usize) {
            Some(&value) => value,
            None => norm(f64::from(doc_length), self.mean_length),
        }
    }
}

fn norm(doc_length: f64, mean_length: f64) -> f64 {
    K1 * (1.0 - B + B * doc_length / mean_length)
}

/// Returns what one term with `tf` occurrences adds to a memory's score.
#[inline]
pub fn part(idf: f64, tf: u16, norm: f64) -> f64 {
    let tf = f64::from(tf);
    idf * tf * (K1 + 1.0) / (tf + norm)
}
