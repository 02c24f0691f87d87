//! Word pieces are compared as their definition says, to the bit, and an index has the token vectors that it was given.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use somabrain_kernel::columns::NEVER;
use somabrain_kernel::index::{Index, IndexRows, MemoryRow};
use somabrain_kernel::products::InstructionSet;
use somabrain_kernel::shortlist::ShortlistError;
use somabrain_kernel::token_store::TokenRow;
use somabrain_kernel::tokens::QueryTokens;

const SEED: [u8; 32] = *b"the same cases at each execution";

/// Runs one case of `share` of `KERNEL_CASES`.
fn runner(share: u32) -> TestRunner {
    let cases = std::env::var("KERNEL_CASES").map_or(10_000, |cases| cases.parse().expect("a number"));
    let config = Config { cases: cases / share, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED))
}

/// A text's data: `pieces` norms, and codes of pieces of `width` bytes.
fn text(width: usize, pieces: impl Strategy<Value = usize>) -> impl Strategy<Value = Vec<u8>> {
    pieces.prop_flat_map(move |pieces| {
        let norms = prop::collection::vec(prop_oneof![1..=u16::MAX, 14_000..18_000_u16], pieces);
        let codes = prop_oneof![
            prop::collection::vec(any::<u8>(), pieces * width),
            prop::sample::select(vec![0_u8, 255]).prop_map(move |byte| vec![byte; pieces * width]),
        ];
        (norms, codes).prop_map(|(norms, codes)| norms.into_iter().flat_map(u16::to_le_bytes).chain(codes).collect())
    })
}

fn query(width: usize, pieces: impl Strategy<Value = usize>) -> impl Strategy<Value = (Vec<i8>, Vec<f64>)> {
    pieces.prop_flat_map(move |pieces| {
        let any_code = prop::collection::vec(-127..=127_i8, pieces * width * 4);
        let codes = prop_oneof![
            3 => any_code,
            1 => prop::sample::select(vec![-127_i8, 127]).prop_map(move |code| vec![code; pieces * width * 4]),
        ];
        (codes, prop::collection::vec(prop_oneof![0.0..1.0_f64, Just(0.0)], pieces))
    })
}

/// The similarity of each piece of a query to the nearest piece of a text, number by number.
fn nearest(codes: &[i8], scales: &[f64], width: usize, data: &[u8]) -> Vec<f64> {
    let count = data.len() / (2 + width);
    let (norms, packed) = data.split_at(2 * count);
    let similarity = |query: &[i8], scale: f64, piece: usize| {
        let value = |number: usize| {
            let byte = packed[piece * width + number % width];
            i64::from(byte >> (2 * (number / width)) & 3) * 2 - 3
        };
        let product: i64 = query.iter().enumerate().map(|(number, &code)| i64::from(code) * value(number)).sum();
        let norm = u16::from_le_bytes([norms[2 * piece], norms[2 * piece + 1]]);
        product as f64 * (1.0 / f64::from(norm)) * scale
    };
    let queries = codes.chunks_exact(4 * width).zip(scales);
    queries.map(|(query, &scale)| (0..count).map(|piece| similarity(query, scale, piece)).fold(0.0, f64::max)).collect()
}

#[test]
fn every_instruction_set_compares_pieces_as_the_definition_does() {
    let widths = prop_oneof![1..70_usize, prop::sample::select(vec![96_usize, 97, 256, 330])];
    let state = widths.prop_flat_map(|width| {
        let pieces = prop_oneof![8 => 0..6_usize, 1 => Just(38_usize)];
        (Just(width), query(width, 0..10_usize), prop::collection::vec(text(width, pieces), 0..4))
    });
    runner(10)
        .run(&state, |(width, (codes, scales), texts)| {
            let columns: Vec<Vec<f64>> = texts.iter().map(|data| nearest(&codes, &scales, width, data)).collect();
            let bits = |piece: usize| columns.iter().map(move |column| column[piece].to_bits());
            let expected: Vec<u64> = (0..scales.len()).flat_map(bits).collect();
            let data: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            for instructions in InstructionSet::available() {
                let query = QueryTokens::new(&codes, scales.clone(), instructions).expect("whole pieces");
                let found = query.max_similarities(&data).expect("of equal width");
                let found: Vec<u64> = found.into_iter().map(f64::to_bits).collect();
                prop_assert_eq!(&found, &expected, "{:?}", instructions);
            }
            Ok(())
        })
        .unwrap();
}

/// One change of an index: a memory that is set anew, with or without token vectors, or removed, or given others.
#[derive(Clone, Debug)]
enum Change {
    Set(Option<Vec<u8>>),
    Remove,
    Replace(Vec<u8>),
}

const WIDTH: usize = 3;

fn change() -> impl Strategy<Value = (i64, Change)> {
    let data = || text(WIDTH, 0..4_usize);
    let change = prop_oneof![
        prop::option::of(data()).prop_map(Change::Set),
        Just(Change::Remove),
        data().prop_map(Change::Replace),
    ];
    (0..8_i64, change)
}

fn memory(id: i64) -> MemoryRow {
    MemoryRow {
        id,
        kind: 0,
        session: ["", "a", "b"][id as usize % 3].to_owned(),
        position: if id % 3 == 0 { 0 } else { id },
        subject: String::new(),
        labels: Vec::new(),
        event_us: id * 1_500_000,
        create_us: 0,
        expire_us: NEVER,
        salience: 0.5,
        pinned: false,
        doc_length: 1,
        key: String::new(),
    }
}

fn tokens(memory: i64, data: &[u8]) -> TokenRow {
    let truncated = data.len() > WIDTH + 2;
    let speaker = ["", "ada", "ben"][data.len() % 3].to_owned();
    TokenRow { memory, data: data.into(), truncated, questions: data.len() as f64 / 32.0, speaker }
}

#[test]
fn an_index_lists_the_token_vectors_that_it_was_given_last() {
    let state = (prop::collection::vec(change(), 0..30), query(WIDTH, 1..6_usize), 0..60_usize);
    runner(1)
        .run(&state, |(changes, (codes, scales), max_bytes)| {
            let mut index = Index::default();
            let mut stored: BTreeMap<i64, Option<Vec<u8>>> = BTreeMap::new();
            for (id, change) in changes {
                match change {
                    Change::Set(data) => {
                        let rows = IndexRows { rows: vec![memory(id)], ..IndexRows::default() };
                        index.apply(&[id], rows);
                        index.set_tokens(data.iter().map(|data| tokens(id, data)).collect());
                        stored.insert(id, data);
                    }
                    Change::Remove => {
                        index.apply(&[id], IndexRows::default());
                        stored.remove(&id);
                    }
                    Change::Replace(data) => {
                        index.set_tokens(vec![tokens(id, &data)]);
                        stored.entry(id).and_modify(|before| *before = Some(data));
                    }
                }
            }
            let ids: Vec<i64> = stored.keys().rev().copied().collect();
            let mut bytes = 0;
            let mut rows: Vec<(i64, Vec<u8>, Vec<u8>)> = Vec::new();
            for &id in &ids {
                let data = stored[&id].clone().unwrap_or_default();
                bytes += data.len();
                let compared = if rows.is_empty() || bytes <= max_bytes { data.clone() } else { Vec::new() };
                rows.push((id, data, compared));
            }
            let query = QueryTokens::new(&codes, scales.clone(), InstructionSet::detect()).expect("whole pieces");
            let found = index.shortlist(&ids, &query, max_bytes).expect("known memories");
            prop_assert_eq!(found.compared.len(), rows.len());
            prop_assert_eq!(found.missing, stored.values().any(Option::is_none));
            for (column, (id, data, compared)) in rows.iter().enumerate() {
                let similarity: Vec<f64> =
                    (0..scales.len()).map(|piece| found.similarity[piece * rows.len() + column]).collect();
                prop_assert_eq!(similarity, nearest(&codes, &scales, WIDTH, compared));
                prop_assert_eq!(found.compared[column], !compared.is_empty());
                let expected = tokens(*id, data);
                prop_assert_eq!(found.truncated[column], expected.truncated);
                prop_assert_eq!(found.questions[column], expected.questions);
                prop_assert_eq!(&*found.speakers[column], if stored[id].is_some() { &*expected.speaker } else { "" });
                prop_assert_eq!(found.session[column] < 0, id % 3 == 0);
                prop_assert_eq!(found.position[column], memory(*id).position);
                prop_assert_eq!(found.event_time_s[column], *id as f64 * 1.5);
                for (other, (other_id, _, _)) in rows.iter().enumerate().filter(|_| id % 3 != 0) {
                    let equal = found.session[column] == found.session[other];
                    prop_assert_eq!(equal, id % 3 == other_id % 3);
                }
            }
            // What is left after everything is removed is the room for rows, and no speaker's name.
            let size_bytes = index.tokens.size_bytes();
            prop_assert!(size_bytes >= stored.values().flatten().map(Vec::len).sum());
            index.apply(&ids, IndexRows::default());
            let mut empty = Index::default();
            empty.apply(&[], IndexRows { rows: (0..8).map(memory).collect(), ..IndexRows::default() });
            let row = |id| TokenRow { speaker: String::new(), ..tokens(id, &[]) };
            empty.set_tokens((0..8).map(row).collect());
            prop_assert!(index.tokens.size_bytes() <= 2 * empty.tokens.size_bytes());
            if let Some(&id) = ids.first() {
                prop_assert_eq!(index.shortlist(&[id], &query, 0).err(), Some(ShortlistError::Missing(id)));
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn pieces_of_another_width_are_refused() {
    assert!(QueryTokens::new(&[1; 6], vec![1.0], InstructionSet::Portable).is_none());
    assert!(QueryTokens::new(&[], vec![1.0], InstructionSet::Portable).is_none());
    let query = QueryTokens::new(&[1; 8], vec![1.0], InstructionSet::Portable).expect("a piece of eight numbers");
    assert_eq!(query.max_similarities(&[&[0; 4], &[0; 5]]), Err(1));
    let mut index = Index::default();
    index.apply(&[], IndexRows { rows: vec![memory(7)], ..IndexRows::default() });
    index.set_tokens(vec![tokens(7, &[1, 0, 0])]);
    assert_eq!(index.shortlist(&[7], &query, 9).err(), Some(ShortlistError::OtherWidth(7)));
}
