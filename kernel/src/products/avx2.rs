//! Products by AVX2: 32 bytes of a row are 64 products in two multiplications of unsigned by signed bytes.

use std::arch::x86_64::*;

use super::{BLOCK_BYTES, PackedQuery};

/// Blocks whose products are added in 16 bits: each adds twice at most 2 · 15 · 128, and 8 · 3840 is below 2^15.
const BLOCKS_IN_16_BITS: usize = 4;

/// Returns the products of each row with each query.
///
/// # Safety
///
/// The processor has AVX2, and all rows and queries are equally long.
#[inline]
#[target_feature(enable = "avx2")]
pub unsafe fn products<const R: usize, const Q: usize>(rows: [&[u8]; R], queries: [&PackedQuery; Q]) -> [[i32; Q]; R] {
    let row_bytes = queries[0].row_bytes();
    // SAFETY: every offset is below `row_bytes`, a multiple of BLOCK_BYTES, which each load reads.
    unsafe {
        let (nibbles, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
        let mut total = [[_mm256_setzero_si256(); Q]; R];
        let mut offset = 0;
        while offset < row_bytes {
            let end = row_bytes.min(offset + BLOCKS_IN_16_BITS * BLOCK_BYTES);
            let mut partial = [[_mm256_setzero_si256(); Q]; R];
            while offset < end {
                let parts = queries.map(|query| {
                    let low = _mm256_loadu_si256(query.low.as_ptr().add(offset).cast());
                    (low, _mm256_loadu_si256(query.high.as_ptr().add(offset).cast()))
                });
                for (row, sums) in rows.iter().zip(&mut partial) {
                    let bytes = _mm256_loadu_si256(row.as_ptr().add(offset).cast());
                    let below = _mm256_and_si256(bytes, nibbles);
                    let above = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibbles);
                    for (sum, (low, high)) in sums.iter_mut().zip(parts) {
                        *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(below, low));
                        *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(above, high));
                    }
                }
                offset += BLOCK_BYTES;
            }
            for (sums, parts) in total.iter_mut().zip(partial) {
                for (sum, part) in sums.iter_mut().zip(parts) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(part, ones));
                }
            }
        }
        total.map(|sums| sums.map(|sum| sum_of_eight(sum)))
    }
}

/// # Safety
///
/// The processor has AVX2.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn sum_of_eight(sums: __m256i) -> i32 {
    // SAFETY: arithmetic in registers.
    #[allow(unused_unsafe)] // needed up to Rust 1.86
    unsafe {
        let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b0100_1110>(four));
        _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b1011_0001>(two)))
    }
}

/// Returns the set of the bounds that are at least `cut`.
///
/// # Safety
///
/// The processor has AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn reaching(bounds: &[f32; 64], cut: f32) -> u64 {
    bounds.chunks_exact(8).enumerate().fold(0, |set, (index, eight)| {
        // SAFETY: the load reads eight numbers.
        let passed = unsafe {
            _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(_mm256_loadu_ps(eight.as_ptr()), _mm256_set1_ps(cut)))
        };
        set | u64::from(passed as u8) << (8 * index)
    })
}
