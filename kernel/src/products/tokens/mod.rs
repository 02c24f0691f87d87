//! Inner products of word pieces, two bits a number, with a query of bytes: exact integers, as all products here.
//!
//! A piece of width w has 4 · w numbers: byte j holds the codes, 0 to 3, of the numbers j, j + w, j + 2 · w and
//! j + 3 · w, its quarters, from its lowest bits on. A code c stands for 2 · c - 3. No sum overflows: 3 · 3 · 128 · 2^16
//! bytes is below 2^31.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(avx512)]
mod avx512;
mod portable;

use super::InstructionSet;

/// Quarters of a piece: the numbers that a byte holds.
pub const QUARTERS: usize = 4;
/// Bytes of a piece that are multiplied together.
const BLOCK_BYTES: usize = 32;
/// Queries that are multiplied together: the codes of a piece are unpacked once for all of them.
pub const GROUP: usize = 4;

/// Up to GROUP queries in the order in which they are multiplied, and zeros in place of missing ones.
pub struct QueryGroup {
    /// By block, query and quarter, BLOCK_BYTES numbers each; zeros after the last.
    values: Vec<[[[i8; BLOCK_BYTES]; QUARTERS]; GROUP]>,
    /// Sums of each query's numbers.
    sums: [i32; GROUP],
}

impl QueryGroup {
    /// `queries` are at most GROUP, of 4 · `width` numbers each.
    pub fn new(queries: &[&[i8]], width: usize) -> Self {
        let mut values = vec![[[[0; BLOCK_BYTES]; QUARTERS]; GROUP]; width.div_ceil(BLOCK_BYTES)];
        let mut sums = [0; GROUP];
        for (number, query) in queries.iter().enumerate() {
            for (quarter, quarter_values) in query.chunks_exact(width).enumerate() {
                for (block, block_values) in quarter_values.chunks(BLOCK_BYTES).enumerate() {
                    values[block][number][quarter][..block_values.len()].copy_from_slice(block_values);
                }
            }
            sums[number] = query.iter().map(|&value| i32::from(value)).sum();
        }
        Self { values, sums }
    }
}

/// Codes of word pieces, one after the other, that may be read up to a whole block beyond the beginning of each.
pub struct Pieces<'a> {
    codes: &'a [u8],
    width: usize,
}

impl<'a> Pieces<'a> {
    /// Pieces of `codes`, which are copied to `scratch` where a piece is not a number of whole blocks.
    pub fn new(codes: &'a [u8], width: usize, scratch: &'a mut Vec<u8>) -> Self {
        if width % BLOCK_BYTES == 0 {
            return Self { codes, width };
        }
        // What is read beyond a piece is multiplied by zeros.
        scratch.clear();
        scratch.extend_from_slice(codes);
        scratch.resize(codes.len() + BLOCK_BYTES, 0);
        Self { codes: scratch, width }
    }

    /// Whether as many pieces may be read, block by block.
    fn holds(&self, count: usize) -> bool {
        let whole = self.width.next_multiple_of(BLOCK_BYTES);
        count == 0 || (count - 1) * self.width + whole <= self.codes.len()
    }
}

impl InstructionSet {
    /// Writes into `out` the products of as many pieces, from the first on, with each query.
    ///
    /// # Panics
    ///
    /// If there are fewer pieces, or the queries have another width.
    pub fn token_products(self, pieces: &Pieces, queries: &QueryGroup, out: &mut [[i32; GROUP]]) {
        assert!(pieces.width.div_ceil(BLOCK_BYTES) == queries.values.len() && pieces.holds(out.len()));
        match self {
            Self::Portable => portable::code_products(pieces, queries, out),
            // SAFETY: the value exists only where `available` found the features; the lengths are checked above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2::code_products(pieces, queries, out) },
            // SAFETY: as above.
            #[cfg(avx512)]
            Self::Avx512Vnni => unsafe { avx512::code_products(pieces, queries, out) },
        }
        for products in out {
            for (product, sum) in products.iter_mut().zip(queries.sums) {
                *product = 2 * *product - 3 * sum;
            }
        }
    }
}
