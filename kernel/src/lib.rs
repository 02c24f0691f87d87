//! The in-memory search index of one namespace: rows in, the best memories with their scores out.
//!
//! Every number is the one that the service's own scorer gives over PostgreSQL's candidates for the same state, to the
//! last bit: products of vectors are integers, and floating-point sums keep the order of summation of
//! `somabrain_service.domain.ranking`. `docs/decisions/0017-native-kernel.md` has the argument.

pub mod bitmap;
pub mod bm25;
pub mod columns;
pub mod condition;
pub mod dense;
pub mod exp2;
pub mod filter;
pub mod growth;
pub mod index;
pub mod keys;
pub mod labels;
pub mod lexical;
pub mod number;
pub mod ordered;
pub mod pool;
pub mod postings;
pub mod prefix;
pub mod products;
pub mod rank;
pub mod score;
pub mod search;
pub mod sessions;
pub mod shared_scans;
pub mod shortlist;
pub mod term_scores;
pub mod token_store;
pub mod tokens;
pub mod top_k;
pub mod vectors;

#[cfg(feature = "python")]
mod python;
