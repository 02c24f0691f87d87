//! Vectors in fixed point as three planes of nibbles, exact to the last bit, with bounds from one plane and from two.
//!
//! A vector is a row of integers x in units of 1/2048. It is stored as x = σ·(a·(h - 8) + b·m + l) with a sign σ, a step
//! a that makes h a nibble, b = ⌈a / 16⌉, and the nibbles h (high), m (middle) and l (low). All products with a query
//! are sums of products of nibbles by bytes: integers, exact on every processor.
//!
//! Some planes alone bound a cosine. With x = x' + e, where x' is what the planes read so far give, q = t·v + p with
//! the bytes v and p, ρ = |e|/|x| and δ = |p|/|q|, by Cauchy and Schwarz
//!
//!     | x·q - t·(x'·v) | = | x'·p + e·q | ≤ |x|·|q|·((1 + ρ)·δ + ρ)
//!
//! From the plane h, x' is σ·a·(h - 8 + 1/2); from h and m it is σ·(a·(h - 8) + b·(m + 1/2)).

use crate::growth;
use crate::products::{self, InstructionSet, PackedQuery};

const SCALE: f32 = 2048.0;
const MAX_COMPONENT: i32 = 2048;
const MAX_BYTE: i32 = 127;
const NIBBLES: i32 = 16;
/// Offset of h, which is stored as 0 to 15.
const OFFSET: i32 = 8;
const MAX_STEP: i32 = MAX_COMPONENT / OFFSET;
/// Upper bound of the error of a bound that is computed in float32: less than ten roundings of numbers below 2.
const ROUNDING_ERROR: f32 = 4e-6;
/// A ratio is rounded up when it becomes a float32.
const ROUND_UP: f64 = 1.0 + 2e-7;

/// Rounds a vector of length at most 1 to fixed point.
pub fn fixed_point(vector: &[f32]) -> Vec<i32> {
    // Longer vectors are refused before they are stored; a limit here keeps arithmetic in range whatever comes.
    vector.iter().map(|&x| ((x * SCALE).round_ties_even() as i32).clamp(-MAX_COMPONENT, MAX_COMPONENT)).collect()
}

fn squared_norm(values: impl Iterator<Item = i32>) -> u32 {
    values.map(|x| x.unsigned_abs().pow(2)).fold(0, u32::saturating_add)
}

fn length(squared_norm: u32) -> f64 {
    f64::from(squared_norm.max(1)).sqrt()
}

/// A query vector: q = t·v + p.
pub struct Query {
    step: i32,
    coarse: PackedQuery,
    residual: PackedQuery,
    squared_norm: u32,
    /// t / |q|; 0 for a vector of zeros.
    scale: f32,
    /// δ.
    residual_ratio: f32,
    pub instructions: InstructionSet,
}

impl Query {
    pub fn new(vector: &[f32], instructions: InstructionSet) -> Self {
        let values = fixed_point(vector);
        let largest = values.iter().map(|x| x.abs()).max().unwrap_or(0);
        let step = ((largest + MAX_BYTE - 1) / MAX_BYTE).max(1);
        // Rounded half up, so |p| <= step / 2 <= 8.
        let coarse: Vec<i8> = values.iter().map(|x| (2 * x + step).div_euclid(2 * step) as i8).collect();
        let residual: Vec<i8> = values.iter().zip(&coarse).map(|(x, &v)| (x - step * i32::from(v)) as i8).collect();
        let squared_norm = squared_norm(values.iter().copied());
        let residual_length = length(self::squared_norm(residual.iter().map(|&p| i32::from(p))));
        let has_residual = residual.iter().any(|&p| p != 0);
        Self {
            step,
            coarse: PackedQuery::new(&coarse),
            residual: PackedQuery::new(&residual),
            squared_norm,
            scale: if squared_norm == 0 { 0.0 } else { (f64::from(step) / length(squared_norm)) as f32 },
            residual_ratio: if has_residual { (residual_length / length(squared_norm) * ROUND_UP) as f32 } else { 0.0 },
            instructions,
        }
    }
}

/// Vectors of rows; those of rows without a vector are zeros.
#[derive(Default)]
pub struct QuantizedVectors {
    dimensions: usize,
    row_bytes: usize,
    high: Vec<u8>,
    middle: Vec<u8>,
    low: Vec<u8>,
    /// σ·a.
    step: Vec<i16>,
    squared_norm: Vec<u32>,
    /// σ·a / |x|; 0 for a vector of zeros.
    scale: Vec<f32>,
    /// σ·b / |x|; 0 for a vector of zeros.
    fine_scale: Vec<f32>,
    /// ρ of the plane h.
    high_ratio: Vec<f32>,
    /// ρ of the planes h and m.
    coarse_ratio: Vec<f32>,
}

/// b of a step a.
fn fine_step(step: i32) -> i32 {
    (step + NIBBLES - 1) / NIBBLES
}

impl QuantizedVectors {
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Makes room for `rows` rows, and for `dimensions`; if these change, all vectors are dropped first.
    pub fn resize(&mut self, rows: usize, dimensions: usize) {
        if dimensions != self.dimensions {
            *self = Self { dimensions, row_bytes: products::row_bytes(dimensions), ..Self::default() };
        }
        for plane in [&mut self.high, &mut self.middle, &mut self.low] {
            growth::extend_to(plane, rows * self.row_bytes, 0);
        }
        growth::extend_to(&mut self.step, rows, 0);
        growth::extend_to(&mut self.squared_norm, rows, 0);
        for column in [&mut self.scale, &mut self.fine_scale, &mut self.high_ratio, &mut self.coarse_ratio] {
            growth::extend_to(column, rows, 0.0);
        }
    }

    /// Writes a row's vector, of length at most 1.
    pub fn set(&mut self, row: u32, vector: &[f32]) {
        let mut values = fixed_point(vector);
        let largest = values.iter().map(|x| x.abs()).max().unwrap_or(0);
        let step = (largest / OFFSET + 1).min(MAX_STEP);
        // 2048 needs h = 16, and -2048 h = 0: a vector along an axis changes its sign.
        let sign = if values.contains(&MAX_COMPONENT) { -1 } else { 1 };
        values.iter_mut().for_each(|x| *x *= sign);
        let fine_step = fine_step(step);
        let (mut high, mut middle, mut low) = (Vec::new(), Vec::new(), Vec::new());
        let (mut high_halves, mut coarse_halves) = (0_u64, 0_u64);
        for &x in &values {
            // The limits matter for vectors longer than 1 alone.
            let h = x.div_euclid(step).clamp(-OFFSET, OFFSET - 1);
            let rest = (x - step * h).clamp(0, step - 1);
            let (m, l) = (rest / fine_step, rest % fine_step);
            high.push((h + OFFSET) as u8);
            middle.push(m as u8);
            low.push(l as u8);
            // In halves, because steps may be odd.
            high_halves += u64::from((2 * rest - step).unsigned_abs().pow(2));
            coarse_halves += u64::from((2 * l - fine_step).unsigned_abs().pow(2));
        }
        let range = self.range(row);
        products::pack(&high, &mut self.high[range.clone()]);
        products::pack(&middle, &mut self.middle[range.clone()]);
        products::pack(&low, &mut self.low[range]);

        let squared_norm = squared_norm(values.iter().copied());
        let length = length(squared_norm);
        let (row, is_zero) = (row as usize, squared_norm == 0);
        let ratio = |halves: u64| ((halves as f64).sqrt() / 2.0 / length * ROUND_UP) as f32;
        self.step[row] = (sign * step) as i16;
        self.squared_norm[row] = squared_norm;
        self.scale[row] = if is_zero { 0.0 } else { (f64::from(sign * step) / length) as f32 };
        self.fine_scale[row] = if is_zero { 0.0 } else { (f64::from(sign * fine_step) / length) as f32 };
        self.high_ratio[row] = ratio(high_halves);
        self.coarse_ratio[row] = ratio(coarse_halves);
    }

    /// Overwrites a row's vector with zeros.
    pub fn clear(&mut self, row: u32) {
        let (range, row) = (self.range(row), row as usize);
        if row >= self.step.len() {
            return;
        }
        for plane in [&mut self.high, &mut self.middle, &mut self.low] {
            plane[range.clone()].fill(0);
        }
        self.step[row] = 0;
        self.squared_norm[row] = 0;
        for column in [&mut self.scale, &mut self.fine_scale, &mut self.high_ratio, &mut self.coarse_ratio] {
            column[row] = 0.0;
        }
    }

    fn range(&self, row: u32) -> std::ops::Range<usize> {
        let begin = row as usize * self.row_bytes;
        begin..begin + self.row_bytes
    }

    /// Returns the components of a row's vector in units of 1/2048.
    pub fn get(&self, row: u32) -> Vec<i32> {
        let range = self.range(row);
        let step = i32::from(self.step[row as usize]);
        let fine_step = fine_step(step.abs());
        let component = |dimension| {
            let nibble = |plane: &[u8]| i32::from(products::nibble(&plane[range.clone()], dimension));
            let fine = fine_step * nibble(&self.middle) + nibble(&self.low);
            step * (nibble(&self.high) - OFFSET) + step.signum() * fine
        };
        (0..self.dimensions).map(component).collect()
    }

    /// Returns the cosine distance of a row to the query as pgvector's `<=>` does; 1 for a vector of zeros.
    pub fn distance(&self, row: u32, query: &Query) -> f64 {
        let range = self.range(row);
        let planes = [&self.high, &self.middle, &self.low].map(|plane| &plane[range.clone()]);
        let products = query.instructions.products(planes, [&query.coarse, &query.residual]);
        let whole = |v: i32, p: i32| i64::from(query.step) * i64::from(v) + i64::from(p);
        let [high, middle, low] = products.map(|[v, p]| whole(v, p));
        let sum = whole(query.coarse.sum, query.residual.sum);
        let step = i64::from(self.step[row as usize]);
        let fine_step = i64::from(fine_step(i32::from(self.step[row as usize]).abs()));
        let product = step * (high - i64::from(OFFSET) * sum) + step.signum() * (fine_step * middle + low);
        // At least 1 unless a vector is zero; then the product is 0.
        let norms = (f64::from(self.squared_norm[row as usize]) * f64::from(query.squared_norm)).max(1.0).sqrt();
        1.0 - (product as f64 / norms).clamp(-1.0, 1.0)
    }

    /// Writes upper bounds of the cosines of adjacent rows to each query, at most 64 rows, from the plane h.
    pub fn high_bounds<const Q: usize>(&self, first: usize, queries: [&Query; Q], bounds: [&mut [f32]; Q]) {
        let rows = first..first + bounds[0].len();
        let mut products = [[0; Q]; 64];
        let products = &mut products[..rows.len()];
        self.adjacent_products(&self.high, first, queries, products);
        let (scales, ratios) = (&self.scale[rows.clone()], &self.high_ratio[rows]);
        for (number, (query, bounds)) in queries.into_iter().zip(bounds).enumerate() {
            let offset = (2 * OFFSET - 1) * query.coarse.sum;
            let scale = query.scale * 0.5;
            let (per_ratio, error) = (1.0 + query.residual_ratio, query.residual_ratio + ROUNDING_ERROR);
            for (index, bound) in bounds.iter_mut().enumerate() {
                let estimate = (2 * products[index][number] - offset) as f32 * (scales[index] * scale);
                *bound = estimate + (ratios[index] * per_ratio + error);
            }
        }
    }

    /// Writes upper bounds of the cosines of adjacent rows to each query, at most 64 rows, from the planes h and m.
    pub fn coarse_bounds<const Q: usize>(&self, first: usize, queries: [&Query; Q], bounds: [&mut [f32]; Q]) {
        let rows = first..first + bounds[0].len();
        let (mut highs, mut middles) = ([[0; Q]; 64], [[0; Q]; 64]);
        let (highs, middles) = (&mut highs[..rows.len()], &mut middles[..rows.len()]);
        self.adjacent_products(&self.high, first, queries, highs);
        self.adjacent_products(&self.middle, first, queries, middles);
        let (scales, fine_scales) = (&self.scale[rows.clone()], &self.fine_scale[rows.clone()]);
        let ratios = &self.coarse_ratio[rows];
        for (number, (query, bounds)) in queries.into_iter().zip(bounds).enumerate() {
            let (offset, sum) = (OFFSET * query.coarse.sum, query.coarse.sum);
            let half_scale = query.scale * 0.5;
            let (per_ratio, error) = (1.0 + query.residual_ratio, query.residual_ratio + ROUNDING_ERROR);
            for (index, bound) in bounds.iter_mut().enumerate() {
                let coarse = (highs[index][number] - offset) as f32 * (scales[index] * query.scale);
                let fine = (2 * middles[index][number] + sum) as f32 * (fine_scales[index] * half_scale);
                *bound = coarse + fine + (ratios[index] * per_ratio + error);
            }
        }
    }

    fn adjacent_products<const Q: usize>(
        &self,
        plane: &[u8],
        first: usize,
        queries: [&Query; Q],
        out: &mut [[i32; Q]],
    ) {
        let coarse = queries.map(|query| &query.coarse);
        queries[0].instructions.adjacent_products(&plane[first * self.row_bytes..], coarse, out);
    }

    /// Prepares for `coarse_bounds` of a row whose plane h was just read.
    pub fn prefetch_middle(&self, row: u32) {
        products::prefetch(&self.middle[self.range(row)]);
    }

    /// Prepares for `distance` of a row.
    pub fn prefetch(&self, row: u32) {
        for plane in [&self.high, &self.middle, &self.low] {
            products::prefetch(&plane[self.range(row)]);
        }
    }

    /// Returns the lower bound of a cosine whose upper bound is `bound`, from the planes h and m.
    pub fn lower_bound(&self, row: u32, query: &Query, bound: f32) -> f32 {
        let ratio = self.coarse_ratio[row as usize];
        bound - 2.0 * (ratio * (1.0 + query.residual_ratio) + (query.residual_ratio + ROUNDING_ERROR))
    }

    pub fn size_bytes(&self) -> usize {
        let planes = [&self.high, &self.middle, &self.low].map(growth::bytes);
        let columns = [&self.scale, &self.fine_scale, &self.high_ratio, &self.coarse_ratio].map(growth::bytes);
        planes.iter().chain(&columns).sum::<usize>() + growth::bytes(&self.step) + growth::bytes(&self.squared_norm)
    }
}
