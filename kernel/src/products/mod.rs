//! Inner products of rows of nibbles with a query of bytes: exact integers, the same by every instruction set.
//!
//! A plane has a nibble (0 to 15) a dimension, in blocks of 64 dimensions or 32 bytes: byte j of a block has dimension j
//! in its low half and dimension 32 + j in its high half. The query has the same order, so that a block is two products
//! of bytes. No sum overflows: 15 · 128 · 2^16 dimensions is below 2^31.

// The processor's instructions are unsafe functions; each `unsafe` block says why it is sound. Crates for portable SIMD
// (wide, pulp) have no products of unsigned by signed bytes, which do 64 multiplications at once.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(avx512)]
mod avx512;
mod portable;
pub mod tokens;

/// Dimensions in a block.
pub const BLOCK: usize = 64;
/// Bytes of a plane's block.
pub const BLOCK_BYTES: usize = 32;

/// Rows that are multiplied together: each part of the query is loaded once for all of them.
const ROWS_AT_ONCE: usize = 4;

/// Returns the bytes that a row of `dimensions` nibbles takes.
pub fn row_bytes(dimensions: usize) -> usize {
    dimensions.div_ceil(BLOCK) * BLOCK_BYTES
}

/// Writes nibbles, 0 to 15, into a row; `row` is zeroed first.
pub fn pack(nibbles: &[u8], row: &mut [u8]) {
    row.fill(0);
    for (dimension, &nibble) in nibbles.iter().enumerate() {
        let (block, offset) = (dimension / BLOCK, dimension % BLOCK);
        let byte = &mut row[block * BLOCK_BYTES + offset % BLOCK_BYTES];
        *byte |= if offset < BLOCK_BYTES { nibble } else { nibble << 4 };
    }
}

/// Returns the nibble of a dimension.
pub fn nibble(row: &[u8], dimension: usize) -> u8 {
    let (block, offset) = (dimension / BLOCK, dimension % BLOCK);
    let byte = row[block * BLOCK_BYTES + offset % BLOCK_BYTES];
    if offset < BLOCK_BYTES { byte & 15 } else { byte >> 4 }
}

/// A query's bytes in the order of a plane: those of the low halves and those of the high halves.
pub struct PackedQuery {
    low: Vec<i8>,
    high: Vec<i8>,
    /// Sum of all bytes: what an offset of 1 in every nibble adds to a product.
    pub sum: i32,
}

impl PackedQuery {
    pub fn new(values: &[i8]) -> Self {
        let bytes = row_bytes(values.len());
        let (mut low, mut high) = (vec![0; bytes], vec![0; bytes]);
        for (dimension, &value) in values.iter().enumerate() {
            let (block, offset) = (dimension / BLOCK, dimension % BLOCK);
            let half = if offset < BLOCK_BYTES { &mut low } else { &mut high };
            half[block * BLOCK_BYTES + offset % BLOCK_BYTES] = value;
        }
        Self { low, high, sum: values.iter().map(|&value| i32::from(value)).sum() }
    }

    /// Bytes of a row that the query can be multiplied with.
    pub fn row_bytes(&self) -> usize {
        self.low.len()
    }
}

/// Instructions that products are computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(avx512)]
    Avx512Vnni,
}

impl InstructionSet {
    /// Returns those that this processor has, the fastest last.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut found = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            found.push(Self::Avx2);
        }
        #[cfg(avx512)]
        if avx512::is_available() {
            found.push(Self::Avx512Vnni);
        }
        found
    }

    /// Returns the fastest that this processor has.
    pub fn detect() -> Self {
        Self::available().pop().unwrap_or(Self::Portable)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(avx512)]
            Self::Avx512Vnni => "avx512vnni",
        }
    }

    /// Returns the products of each row with each query.
    ///
    /// # Panics
    ///
    /// If they are not equally long.
    #[inline]
    pub fn products<const R: usize, const Q: usize>(
        self,
        rows: [&[u8]; R],
        queries: [&PackedQuery; Q],
    ) -> [[i32; Q]; R] {
        let bytes = queries[0].row_bytes();
        assert!(rows.iter().all(|row| row.len() == bytes) && queries.iter().all(|query| query.row_bytes() == bytes));
        match self {
            Self::Portable => portable::products(rows, queries),
            // SAFETY: the value exists only where `available` found the features; the lengths are checked above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2::products(rows, queries) },
            // SAFETY: as above.
            #[cfg(avx512)]
            Self::Avx512Vnni => unsafe { avx512::products(rows, queries) },
        }
    }

    /// Returns the set of the bounds that are at least `cut`.
    pub fn reaching(self, bounds: &[f32; 64], cut: f32) -> u64 {
        match self {
            Self::Portable => portable::reaching(bounds, cut),
            // SAFETY: the value exists only where `available` found the features.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2::reaching(bounds, cut) },
            // SAFETY: as above.
            #[cfg(avx512)]
            Self::Avx512Vnni => unsafe { avx512::reaching(bounds, cut) },
        }
    }

    /// Writes into `out` the products of each query with as many rows from the beginning of `plane`.
    ///
    /// # Panics
    ///
    /// If `plane` has fewer rows, or the queries are not equally long.
    pub fn adjacent_products<const Q: usize>(self, plane: &[u8], queries: [&PackedQuery; Q], out: &mut [[i32; Q]]) {
        let bytes = queries[0].row_bytes();
        let plane = &plane[..out.len() * bytes];
        assert!(queries.iter().all(|query| query.row_bytes() == bytes));
        let in_groups = out.len() / ROWS_AT_ONCE * ROWS_AT_ONCE;
        let (out, others) = out.split_at_mut(in_groups);
        let (plane, rest) = plane.split_at(in_groups * bytes);
        #[cfg(avx512)]
        if self == Self::Avx512Vnni {
            // SAFETY: the value exists only where `available` found the features; the lengths are checked above.
            unsafe { avx512::adjacent_products(plane, queries, out) };
            return self.each_product(rest, queries, others);
        }
        for (rows, out) in plane.chunks_exact(ROWS_AT_ONCE * bytes).zip(out.chunks_exact_mut(ROWS_AT_ONCE)) {
            let rows: [&[u8]; ROWS_AT_ONCE] = std::array::from_fn(|number| &rows[number * bytes..][..bytes]);
            for (number, query) in queries.iter().enumerate() {
                let products = self.products(rows, [query]);
                out.iter_mut().zip(products).for_each(|(of_row, [product])| of_row[number] = product);
            }
        }
        self.each_product(rest, queries, others);
    }

    /// The same, row by row.
    fn each_product<const Q: usize>(self, plane: &[u8], queries: [&PackedQuery; Q], out: &mut [[i32; Q]]) {
        for (row, out) in plane.chunks_exact(queries[0].row_bytes().max(1)).zip(out) {
            [*out] = self.products([row], queries);
        }
    }
}

/// Asks the processor to bring a slice into its cache, and does not wait for it.
#[inline]
pub fn prefetch<T>(slice: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in slice.chunks((64 / size_of::<T>()).max(1)) {
        // SAFETY: a hint, which cannot fault; the address is within the slice.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = slice;
}
