//! Products by AVX-512 VNNI: 64 bytes of a row are 128 products in two instructions that also add them up.

// The build script compiles this file with the compilers that have these instructions.
#![allow(clippy::incompatible_msrv)]

use std::arch::x86_64::*;

use super::{BLOCK_BYTES, PackedQuery, ROWS_AT_ONCE, avx2};

const STEP_BYTES: usize = 64;

pub fn is_available() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni")
}

/// Returns the products of each row with each query.
///
/// # Safety
///
/// The processor has AVX2 and AVX-512 F, BW and VNNI, and all rows and queries are equally long.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
pub unsafe fn products<const R: usize, const Q: usize>(rows: [&[u8]; R], queries: [&PackedQuery; Q]) -> [[i32; Q]; R] {
    let row_bytes = queries[0].row_bytes();
    let nibbles = _mm512_set1_epi8(15);
    let mut total = [[_mm512_setzero_si512(); Q]; R];
    let mut offset = 0;
    while offset < row_bytes {
        // The last step may be half: a masked load reads no byte outside the row and gives zeros for them.
        let mask = if row_bytes - offset >= STEP_BYTES { u64::MAX } else { (1 << BLOCK_BYTES) - 1 };
        // SAFETY: every offset is below `row_bytes`, and the mask ends each load at the row's end.
        unsafe {
            let parts = queries.map(|query| {
                let low = _mm512_maskz_loadu_epi8(mask, query.low.as_ptr().add(offset));
                (low, _mm512_maskz_loadu_epi8(mask, query.high.as_ptr().add(offset)))
            });
            for (row, sums) in rows.iter().zip(&mut total) {
                let bytes = _mm512_maskz_loadu_epi8(mask, row.as_ptr().add(offset).cast());
                let below = _mm512_and_si512(bytes, nibbles);
                let above = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), nibbles);
                for (sum, (low, high)) in sums.iter_mut().zip(parts) {
                    *sum = _mm512_dpbusd_epi32(*sum, below, low);
                    *sum = _mm512_dpbusd_epi32(*sum, above, high);
                }
            }
        }
        offset += STEP_BYTES;
    }
    total.map(|sums| {
        sums.map(|sum| {
            let eight = _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum));
            // SAFETY: the caller's promise has AVX2.
            unsafe { avx2::sum_of_eight(eight) }
        })
    })
}

/// Writes the products of the rows of `plane` with each query.
///
/// # Safety
///
/// The processor has AVX2 and AVX-512 F, BW and VNNI, all queries are equally long, and `plane` has a row for each element
/// of `out`, of which there are a multiple of ROWS_AT_ONCE.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
pub unsafe fn adjacent_products<const Q: usize>(plane: &[u8], queries: [&PackedQuery; Q], out: &mut [[i32; Q]]) {
    let row_bytes = queries[0].row_bytes();
    let nibbles = _mm512_set1_epi8(15);
    for (group, out) in out.chunks_exact_mut(ROWS_AT_ONCE).enumerate() {
        let mut total = [[_mm512_setzero_si512(); ROWS_AT_ONCE]; Q];
        let mut offset = 0;
        while offset < row_bytes {
            let mask = if row_bytes - offset >= STEP_BYTES { u64::MAX } else { (1 << BLOCK_BYTES) - 1 };
            // SAFETY: the rows of the group are within `plane`, as the caller promises; else as above.
            unsafe {
                let row = plane.as_ptr().add(ROWS_AT_ONCE * group * row_bytes + offset);
                let bytes: [__m512i; ROWS_AT_ONCE] =
                    std::array::from_fn(|number| _mm512_maskz_loadu_epi8(mask, row.add(number * row_bytes).cast()));
                let below = bytes.map(|bytes| _mm512_and_si512(bytes, nibbles));
                let above = bytes.map(|bytes| _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), nibbles));
                for (query, sums) in queries.iter().zip(&mut total) {
                    let low = _mm512_maskz_loadu_epi8(mask, query.low.as_ptr().add(offset));
                    let high = _mm512_maskz_loadu_epi8(mask, query.high.as_ptr().add(offset));
                    for number in 0..ROWS_AT_ONCE {
                        sums[number] = _mm512_dpbusd_epi32(sums[number], below[number], low);
                        sums[number] = _mm512_dpbusd_epi32(sums[number], above[number], high);
                    }
                }
            }
            offset += STEP_BYTES;
        }
        for (query, [a, b, c, d]) in total.into_iter().enumerate() {
            let pair = |a, b| _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let (ab, cd) = (pair(a, b), pair(c, d));
            let four = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
            let two = _mm256_add_epi32(_mm512_castsi512_si256(four), _mm512_extracti64x4_epi64::<1>(four));
            let one = _mm_add_epi32(_mm256_castsi256_si128(two), _mm256_extracti128_si256::<1>(two));
            let mut sums = [0_i32; 4];
            // SAFETY: `sums` has room for the four.
            unsafe { _mm_storeu_si128(sums.as_mut_ptr().cast(), one) };
            for (out, sum) in out.iter_mut().zip(sums) {
                out[query] = sum;
            }
        }
    }
}

/// Returns the set of the bounds that are at least `cut`.
///
/// # Safety
///
/// The processor has AVX-512 F.
#[target_feature(enable = "avx512f")]
pub unsafe fn reaching(bounds: &[f32; 64], cut: f32) -> u64 {
    bounds.chunks_exact(16).enumerate().fold(0, |set, (index, sixteen)| {
        // SAFETY: the load reads sixteen numbers.
        let passed =
            unsafe { _mm512_cmp_ps_mask::<_CMP_GE_OQ>(_mm512_loadu_ps(sixteen.as_ptr()), _mm512_set1_ps(cut)) };
        set | u64::from(passed) << (16 * index)
    })
}
