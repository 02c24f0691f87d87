//! Products by AVX2: 32 bytes of a piece are 128 products in four multiplications of unsigned by signed bytes.

use std::arch::x86_64::*;

use super::{BLOCK_BYTES, GROUP, Pieces, QueryGroup};

/// Blocks whose products are added in 16 bits: each adds four times at most 2 · 3 · 128, and 10 · 3072 is below 2^15.
const BLOCKS_IN_16_BITS: usize = 10;

/// Writes the products of the codes of each piece with each query.
///
/// # Safety
///
/// The processor has AVX2, and `pieces` holds `out.len()` pieces of as many blocks as the queries have.
#[target_feature(enable = "avx2")]
pub unsafe fn code_products(pieces: &Pieces, queries: &QueryGroup, out: &mut [[i32; GROUP]]) {
    // SAFETY: every load is of a block of a piece or of a query, and the store is of four 32-bit numbers.
    unsafe {
        let (codes, ones) = (_mm256_set1_epi8(3), _mm256_set1_epi16(1));
        for (number, products) in out.iter_mut().enumerate() {
            let mut piece = pieces.codes.as_ptr().add(number * pieces.width);
            let mut total = [_mm256_setzero_si256(); GROUP];
            for blocks in queries.values.chunks(BLOCKS_IN_16_BITS) {
                let mut partial = [_mm256_setzero_si256(); GROUP];
                for block in blocks {
                    let bytes = _mm256_loadu_si256(piece.cast());
                    let quarters = [
                        _mm256_and_si256(bytes, codes),
                        _mm256_and_si256(_mm256_srli_epi16::<2>(bytes), codes),
                        _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), codes),
                        _mm256_and_si256(_mm256_srli_epi16::<6>(bytes), codes),
                    ];
                    for (sum, query) in partial.iter_mut().zip(block) {
                        for (quarter, values) in quarters.iter().zip(query) {
                            let values = _mm256_loadu_si256(values.as_ptr().cast());
                            *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(*quarter, values));
                        }
                    }
                    piece = piece.wrapping_add(BLOCK_BYTES);
                }
                for (sum, part) in total.iter_mut().zip(partial) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(part, ones));
                }
            }
            _mm_storeu_si128(products.as_mut_ptr().cast(), sums_of_eight(total));
        }
    }
}

/// Returns the sum of the eight numbers of each.
///
/// # Safety
///
/// The processor has AVX2.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn sums_of_eight([first, second, third, fourth]: [__m256i; GROUP]) -> __m128i {
    // SAFETY: arithmetic in registers.
    #[allow(unused_unsafe)] // needed up to Rust 1.86
    unsafe {
        let halves = _mm256_hadd_epi32(_mm256_hadd_epi32(first, second), _mm256_hadd_epi32(third, fourth));
        _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves))
    }
}
