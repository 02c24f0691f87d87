//! Similarity of a query's word pieces to those of texts: `somabrain_service.domain.token_vectors`, to the last bit.
//!
//! A text's data is the norms of its word pieces, 16 bits each, lowest byte first, and then their codes; see
//! `products::tokens`.

use crate::products::InstructionSet;
use crate::products::tokens::{GROUP, Pieces, QUARTERS, QueryGroup};

const NORM_BYTES: usize = 2;

/// The word pieces of a query.
pub struct QueryTokens {
    width: usize,
    groups: Vec<QueryGroup>,
    scales: Vec<f64>,
    instructions: InstructionSet,
}

impl QueryTokens {
    /// `codes` has the same number of values for each scale. None: that is not a multiple of four.
    pub fn new(codes: &[i8], scales: Vec<f64>, instructions: InstructionSet) -> Option<Self> {
        let pieces = scales.len();
        if codes.len() % (pieces * QUARTERS).max(1) != 0 || codes.is_empty() != scales.is_empty() {
            return None;
        }
        let dimensions = codes.len().checked_div(pieces).unwrap_or_default();
        let width = dimensions / QUARTERS;
        let queries: Vec<&[i8]> = codes.chunks_exact(dimensions.max(1)).collect();
        let groups = queries.chunks(GROUP).map(|group| QueryGroup::new(group, width)).collect();
        Some(Self { width, groups, scales, instructions })
    }

    /// Returns the similarity of each piece to its nearest piece of each text, at least 0: a row for each piece, a
    /// column for each text. Err: the number of the first text whose pieces have another width.
    pub fn max_similarities(&self, texts: &[&[u8]]) -> Result<Vec<f64>, usize> {
        let mut result = vec![0.0; self.scales.len() * texts.len()];
        let (mut scratch, mut inverse_norms, mut products) = (Vec::new(), Vec::new(), Vec::new());
        for (column, data) in texts.iter().enumerate() {
            if self.groups.is_empty() || data.is_empty() {
                continue;
            }
            if data.len() % (NORM_BYTES + self.width) != 0 {
                return Err(column);
            }
            let count = data.len() / (NORM_BYTES + self.width);
            let (norms, codes) = data.split_at(count * NORM_BYTES);
            let norm = |bytes: &[u8]| f64::from(u16::from_le_bytes([bytes[0], bytes[1]]));
            inverse_norms.clear();
            inverse_norms.extend(norms.chunks_exact(NORM_BYTES).map(|bytes| 1.0 / norm(bytes)));
            products.resize(count, [0; GROUP]);
            let pieces = Pieces::new(codes, self.width, &mut scratch);
            for (number, group) in self.groups.iter().enumerate() {
                self.instructions.token_products(&pieces, group, &mut products);
                let best = best(&products, &inverse_norms);
                let first = number * GROUP;
                // Multiplied once: roundings keep the order, and a scale is at least 0.
                for (row, (scale, best)) in (first..).zip(self.scales[first..].iter().zip(best)) {
                    result[row * texts.len() + column] = best * scale;
                }
            }
        }
        Ok(result)
    }
}

/// Returns the largest product by norm for each query of a group, at least 0.
fn best(products: &[[i32; GROUP]], inverse_norms: &[f64]) -> [f64; GROUP] {
    let mut best = [0.0; GROUP];
    for (products, inverse_norm) in products.iter().zip(inverse_norms) {
        for (best, &product) in best.iter_mut().zip(products) {
            let value = f64::from(product) * inverse_norm;
            if value > *best {
                *best = value;
            }
        }
    }
    best
}
