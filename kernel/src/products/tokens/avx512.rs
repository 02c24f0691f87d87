//! Products by AVX-512 VNNI: 32 bytes of a piece are 128 products in two instructions that also add them up.

// The build script compiles this file with the compilers that have these instructions.
#![allow(clippy::incompatible_msrv)]

use std::arch::x86_64::*;

use super::{BLOCK_BYTES, GROUP, Pieces, QueryGroup, avx2};

/// Writes the products of the codes of each piece with each query.
///
/// # Safety
///
/// The processor has AVX2 and AVX-512 F, BW and VNNI, and `pieces` holds `out.len()` pieces of as many blocks as the
/// queries have.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
pub unsafe fn code_products(pieces: &Pieces, queries: &QueryGroup, out: &mut [[i32; GROUP]]) {
    let codes = _mm512_set1_epi8(3);
    // Each half of a register has two quarters of the block.
    let zero = _mm256_setzero_si256();
    let low_shifts = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(zero), _mm256_set1_epi16(2));
    let high_shifts = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(_mm256_set1_epi16(4)), _mm256_set1_epi16(6));
    for (number, products) in out.iter_mut().enumerate() {
        let mut piece = pieces.codes[number * pieces.width..].as_ptr();
        let mut total = [_mm512_setzero_si512(); GROUP];
        for block in &queries.values {
            // SAFETY: the block is one of the piece's.
            let bytes = _mm512_broadcast_i64x4(unsafe { _mm256_loadu_si256(piece.cast()) });
            let low = _mm512_and_si512(_mm512_srlv_epi16(bytes, low_shifts), codes);
            let high = _mm512_and_si512(_mm512_srlv_epi16(bytes, high_shifts), codes);
            for (sum, query) in total.iter_mut().zip(block) {
                let values = query.as_flattened().as_ptr();
                // SAFETY: a query has four quarters in a block, which are two registers.
                let (first, last) = unsafe {
                    (_mm512_loadu_si512(values.cast()), _mm512_loadu_si512(values.add(2 * BLOCK_BYTES).cast()))
                };
                *sum = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(*sum, low, first), high, last);
            }
            piece = piece.wrapping_add(BLOCK_BYTES);
        }
        let sums = total.map(|sum| _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum)));
        // SAFETY: the caller's promise has AVX2, and the store is of four 32-bit numbers.
        unsafe { _mm_storeu_si128(products.as_mut_ptr().cast(), avx2::sums_of_eight(sums)) }
    }
}
