//! Products without instructions of a particular processor, in loops that compilers turn into vector instructions.

use super::{BLOCK_BYTES, GROUP, Pieces, QUARTERS, QueryGroup};

/// Blocks whose products are added in 16 bits: each adds four times at most 3 · 128, and 20 · 1536 is below 2^15.
const BLOCKS_IN_16_BITS: usize = 20;

/// Writes the products of the codes of each piece with each query.
pub fn code_products(pieces: &Pieces, queries: &QueryGroup, out: &mut [[i32; GROUP]]) {
    for (number, products) in out.iter_mut().enumerate() {
        let mut piece = &pieces.codes[number * pieces.width..];
        *products = [0; GROUP];
        for blocks in queries.values.chunks(BLOCKS_IN_16_BITS) {
            let mut sums = [[0_i16; BLOCK_BYTES]; GROUP];
            for block in blocks {
                let (bytes, rest) = piece.split_at(BLOCK_BYTES);
                add_block(bytes, block, &mut sums);
                piece = rest;
            }
            for (product, sums) in products.iter_mut().zip(&sums) {
                *product += sums.iter().map(|&sum| i32::from(sum)).sum::<i32>();
            }
        }
    }
}

fn add_block(bytes: &[u8], queries: &[[[i8; BLOCK_BYTES]; QUARTERS]; GROUP], sums: &mut [[i16; BLOCK_BYTES]; GROUP]) {
    let mut codes = [[0_i16; BLOCK_BYTES]; QUARTERS];
    for (quarter, codes) in codes.iter_mut().enumerate() {
        for (code, &byte) in codes.iter_mut().zip(bytes) {
            *code = i16::from(byte >> (2 * quarter) & 3);
        }
    }
    for (sums, query) in sums.iter_mut().zip(queries) {
        for (codes, values) in codes.iter().zip(query) {
            for ((sum, &code), &value) in sums.iter_mut().zip(codes).zip(values) {
                *sum += code * i16::from(value);
            }
        }
    }
}
