//! Products without instructions of a particular processor.

use super::PackedQuery;

/// Returns the products of each row with each query.
pub fn products<const R: usize, const Q: usize>(rows: [&[u8]; R], queries: [&PackedQuery; Q]) -> [[i32; Q]; R] {
    rows.map(|row| queries.map(|query| product(row, query)))
}

fn product(row: &[u8], query: &PackedQuery) -> i32 {
    let products = row.iter().zip(&query.low).zip(&query.high).map(|((&byte, &low), &high)| {
        // 16 bits are enough for both products, and twice as many of them fit into a register.
        i32::from(i16::from(byte & 15) * i16::from(low) + i16::from(byte >> 4) * i16::from(high))
    });
    products.sum()
}

/// Returns the set of the bounds that are at least `cut`.
pub fn reaching(bounds: &[f32; 64], cut: f32) -> u64 {
    bounds.iter().enumerate().fold(0, |set, (index, &bound)| set | u64::from(bound >= cut) << index)
}
