//! Products without instructions of a particular processor.

use super::{BLOCK_BYTES, GROUP, Pieces, QUARTERS, QueryGroup};

/// Writes the products of the codes of each piece with each query.
pub fn code_products(pieces: &Pieces, queries: &QueryGroup, out: &mut [[i32; GROUP]]) {
    for (number, products) in out.iter_mut().enumerate() {
        let piece = &pieces.codes[number * pieces.width..];
        *products = [0; GROUP];
        for (bytes, values) in piece.chunks_exact(BLOCK_BYTES).zip(&queries.values) {
            for (product, quarters) in products.iter_mut().zip(values) {
                *product += product_of_block(bytes, quarters);
            }
        }
    }
}

fn product_of_block(bytes: &[u8], [first, second, third, fourth]: &[[i8; BLOCK_BYTES]; QUARTERS]) -> i32 {
    let values = first.iter().zip(second).zip(third).zip(fourth);
    let products = bytes.iter().zip(values).map(|(&byte, (((&first, &second), &third), &fourth))| {
        let product = |code: u8, value: i8| i16::from(code & 3) * i16::from(value);
        // 16 bits are enough for four products, and twice as many of them fit into a register.
        let low = product(byte, first) + product(byte >> 2, second);
        i32::from(low + product(byte >> 4, third) + product(byte >> 6, fourth))
    });
    products.sum()
}
