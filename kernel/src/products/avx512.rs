//! Products by AVX-512 VNNI: 64 bytes of a row are 128 products in two instructions that also add them up.

// The build script compiles this file with the compilers that have these instructions.
#![allow(clippy::incompatible_msrv)]

use std::arch::x86_64::*;

use super::{BLOCK_BYTES, PackedQuery, avx2};

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
