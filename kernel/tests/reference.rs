//! The index gives what the definitions give, for drawn states and queries: the same list, scores and parts to the bit.
//!
//! The reference has no index, no bound and no quantization: it scans a list of memories and follows
//! `somabrain_service.domain.ranking` line by line. `KERNEL_CASES` is the number of cases, 10,000 unless it is set; the
//! seed is fixed.

mod scan;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use somabrain_kernel::columns::NEVER;
use somabrain_kernel::condition::{Condition, Operator};
use somabrain_kernel::filter::Filter;
use somabrain_kernel::index::{Index, IndexRows, MemoryRow, TermPostings};
use somabrain_kernel::products::InstructionSet;
use somabrain_kernel::score::Bias;
use somabrain_kernel::search::Search;

use scan::Memory;

const WORDS: [&str; 6] = ["bee", "drone", "frost", "hive", "honey", "wax"];
const SEED: [u8; 32] = *b"the same cases at each execution";

/// Runs one case of `share` that the others have.
fn runner(share: u32) -> TestRunner {
    let cases = std::env::var("KERNEL_CASES").map_or(10_000, |cases| cases.parse().expect("a number"));
    let cases = cases / share;
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED))
}

/// Vectors of length 1 or 0: in any direction, in one of few, along an axis, or close to one.
fn vector(dimensions: usize) -> impl Strategy<Value = Vec<f32>> {
    let any = prop::collection::vec(-1.0_f32..1.0, dimensions);
    let few = prop::collection::vec(prop::sample::select(vec![-1.0_f32, 0.0, 0.5]), dimensions);
    let axis = (0..dimensions, prop::sample::select(vec![-1.0_f32, 1.0, 0.0]), 0.0_f32..0.02).prop_map(
        move |(axis, length, rest)| {
            let mut vector = vec![rest; dimensions];
            vector[axis] = length;
            vector
        },
    );
    prop_oneof![any, few, axis].prop_map(|vector| {
        let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        vector.iter().map(|&x| if length > 0.0 { (f64::from(x) / length) as f32 } else { 0.0 }).collect()
    })
}

fn memory(id: i64, dimensions: usize) -> impl Strategy<Value = Memory> {
    let words = prop::collection::btree_map(0..WORDS.len(), prop::sample::select(vec![1_u16, 1, 2, 900]), 0..4);
    let row = (0..3_usize, 0..3_i64, 0..3_usize, 0..3_i16, -50..50_i64, any::<bool>(), prop::option::of(-50..50_i64));
    let vector = prop::option::of(vector(dimensions));
    (words, row, 0..4_u8, (any::<bool>(), prop::option::of(0..VALUES.len())), vector, any::<bool>()).prop_map(
        move |(
            words,
            (session, gap, subject, kind, second, labelled, expires),
            salience,
            (pinned, value),
            vector,
            other,
        )| {
            let terms: Vec<(String, u16)> = words.into_iter().map(|(word, tf)| (WORDS[word].to_owned(), tf)).collect();
            let row = MemoryRow {
                id,
                kind,
                session: ["", "a", "b"][session].to_owned(),
                position: if session == 0 { 0 } else { id * 5 - gap },
                subject: ["", "ada", "ben"][subject].to_owned(),
                labels: labels(labelled, value),
                event_us: second * 1_000_000 + id % 2,
                create_us: second * 500_000,
                expire_us: expires.map_or(NEVER, |second| second * 1_000_000),
                salience: f64::from(salience) / 3.0,
                pinned,
                doc_length: terms.iter().map(|(_, tf)| u32::from(*tf)).sum(),
                key: if subject == 0 { String::new() } else { format!("{}/{id}", ["", "a", "é"][subject]) },
            };
            let other_vector = other && vector.is_none();
            Memory { row, terms, vector, other_vector }
        },
    )
}

fn labels(labelled: bool, value: Option<usize>) -> Vec<(String, String)> {
    let size = labelled.then(|| ("size".to_owned(), "big".to_owned()));
    size.into_iter().chain(value.map(|value| ("n".to_owned(), VALUES[value].to_owned()))).collect()
}

/// Many memories, by a seed: whole sessions, few words, vectors around a direction. Every bound decides about some.
fn crowd(dimensions: usize) -> impl Strategy<Value = Vec<Memory>> {
    (any::<u64>(), 40..160_i64, 0..3_i32).prop_map(move |(seed, count, spread)| {
        let mut state = seed;
        let mut draw = move |below: i64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as i64 % below
        };
        let centre: Vec<f32> = (0..dimensions).map(|_| draw(200) as f32 - 100.0).collect();
        let each = |id| {
            // The words at the end are in many memories, those at the beginning in few.
            let mut terms: Vec<(String, u16)> = Vec::new();
            for (number, word) in WORDS.iter().enumerate() {
                if draw(12) < 1 + 2 * number as i64 {
                    terms.push(((*word).to_owned(), 1 + draw(3) as u16));
                }
            }
            let vector: Vec<f32> =
                centre.iter().map(|x| x + 10.0_f32.powi(spread) * (draw(200) as f32 / 100.0 - 1.0)).collect();
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-3);
            let row = MemoryRow {
                id,
                kind: 1,
                session: if draw(8) == 0 { String::new() } else { format!("s{}", id / 20) },
                position: id % 20 + draw(2) * 20,
                subject: String::new(),
                labels: Vec::new(),
                event_us: id,
                create_us: id,
                expire_us: NEVER,
                salience: [0.5, 0.5, 0.2, 1.0][draw(4) as usize],
                pinned: false,
                doc_length: terms.iter().map(|(_, tf)| u32::from(*tf)).sum(),
                key: String::new(),
            };
            let vector = vector.iter().map(|x| x / length).collect();
            Memory { row, terms, vector: Some(vector), other_vector: false }
        };
        (0..count).map(each).collect()
    })
}

/// Memories with distinct ids, so with distinct positions in a session.
fn memories(dimensions: usize) -> impl Strategy<Value = Vec<Memory>> {
    prop::collection::btree_set(0..30_i64, 0..14)
        .prop_flat_map(move |ids| ids.into_iter().map(|id| memory(id, dimensions)).collect::<Vec<_>>())
}

fn filter() -> impl Strategy<Value = Filter> {
    let time = || prop::option::weighted(0.2, (-50..50_i64).prop_map(|second| second * 1_000_000));
    let names =
        |names: [&'static str; 4]| prop::collection::vec(prop::sample::select(names.map(str::to_owned).to_vec()), 0..2);
    let sets = (any::<bool>(), prop::collection::vec(0..3_i16, 0..2));
    let strings = (names(["", "a", "b", "none"]), names(["", "ada", "ben", "none"]), names(["", "a", "é/1", "a/2"]));
    (sets, strings, (time(), time(), time(), time()), prop::option::weighted(0.3, any::<bool>())).prop_map(
        |((labelled, kinds), (sessions, subjects, prefixes), times, pinned)| Filter {
            labels: if labelled { vec![("size".to_owned(), "big".to_owned())] } else { Vec::new() },
            kinds,
            sessions,
            subjects,
            event_from_us: times.0,
            event_until_us: times.1,
            create_from_us: times.2,
            create_until_us: times.3,
            pinned,
            key_prefix: prefixes.concat(),
            ..Filter::default()
        },
    )
}

const VALUES: [&str; 14] = [
    "",
    "1",
    "1.0",
    "10",
    "9",
    "-2",
    "-10e-1",
    "1e2",
    "100",
    "big",
    "bigger",
    "007",
    "9007199254740993",
    "9007199254740992",
];

fn condition() -> impl Strategy<Value = Condition> {
    let value = || prop::sample::select(VALUES.map(str::to_owned).to_vec());
    let values = (value(), prop::collection::vec(value(), 0..3));
    let label = prop::sample::select(vec!["size".to_owned(), "n".to_owned(), "none".to_owned()]);
    (label, prop::sample::select(Operator::ALL.to_vec()), values).prop_map(|(label, operator, (first, more))| {
        Condition {
            label,
            operator,
            values: match operator {
                Operator::Exists => Vec::new(),
                Operator::In => std::iter::once(first).chain(more).collect(),
                _ => vec![first],
            },
        }
    })
}

/// A filter with conditions, and others within it.
fn nested_filter() -> impl Strategy<Value = Filter> {
    let conditions = || prop::collection::vec(condition(), 1..3);
    let leaf = (filter(), conditions()).prop_map(|(filter, conditions)| Filter { conditions, ..filter });
    let plain = conditions().prop_map(|conditions| Filter { conditions, ..Filter::default() });
    prop_oneof![plain, leaf].prop_recursive(3, 12, 3, |inner| {
        let nested = || prop::collection::vec(inner.clone(), 0..3);
        (prop::collection::vec(condition(), 0..2), nested(), nested())
            .prop_map(|(conditions, any_of, none_of)| Filter { conditions, any_of, none_of, ..Filter::default() })
    })
}

/// A query without the numbers that follow from statistics.
fn search(dimensions: usize) -> impl Strategy<Value = Search> {
    let words = prop::collection::btree_set(0..WORDS.len(), 0..5);
    let counts = (
        prop::sample::select(vec![1_usize, 2, 5, 200]),
        prop::sample::select(vec![1_usize, 3, 10, 200]),
        prop::sample::select(vec![0_usize, 0, 2, 7]),
    );
    let half_life = prop::option::of(prop::sample::select(vec![1.0, 30.0, 777_600.0]));
    let switches = (any::<bool>(), any::<bool>(), half_life);
    let filter = prop_oneof![Just(Filter::default()), filter(), nested_filter()];
    (words, prop::option::of(vector(dimensions)), filter, counts, switches, -50..50_i64).prop_map(
        |(words, vector, filter, (limit, top_k, skip), (contiguity, enabled, half_life_s), now)| Search {
            now_us: now * 1_000_000,
            terms: words.into_iter().map(|word| WORDS[word].to_owned()).collect(),
            idf: Vec::new(),
            seeds: Vec::new(),
            fallback_seeds: Vec::new(),
            mean_length: 1.0,
            max_lexical: 0.0,
            vector,
            filter,
            limit,
            top_k,
            skip,
            contiguity,
            bias: Bias { enabled, age_from_s: now as f64 - 0.25, half_life_s },
        },
    )
}

/// Fills in what the service computes of the counts.
fn with_statistics(search: &mut Search, memories: usize, term_occurrences: u64, df: &[usize]) {
    let idf = |df: usize| ((memories as f64 - df as f64 + 0.5) / (df as f64 + 0.5)).ln_1p();
    let occurring =
        |limit: f64| -> Vec<usize> { (0..df.len()).filter(|&term| df[term] > 0 && df[term] as f64 <= limit).collect() };
    search.idf = df.iter().map(|&df| idf(df)).collect();
    search.max_lexical = 1.9 * search.idf.iter().sum::<f64>();
    search.fallback_seeds = occurring(f64::INFINITY);
    // A third in place of a tenth, so that few memories have both kinds of terms.
    let selective = occurring(memories as f64 / 3.0);
    search.seeds = if selective.is_empty() { search.fallback_seeds.clone() } else { selective };
    search.mean_length = if term_occurrences > 0 { term_occurrences as f64 / memories as f64 } else { 1.0 };
}

fn index_rows(memories: &[Memory]) -> IndexRows {
    let mut rows =
        IndexRows { rows: memories.iter().map(|memory| memory.row.clone()).collect(), ..IndexRows::default() };
    for word in WORDS {
        let having = memories.iter().filter_map(|memory| Some((memory.row.id, memory.tf(word)?)));
        let (memories, tf) = having.unzip();
        rows.terms.push(TermPostings { term: word.to_owned(), memories, tf });
    }
    for memory in memories {
        if let Some(vector) = &memory.vector {
            rows.encoded.push(memory.row.id);
            rows.vectors.extend(vector);
        } else if memory.other_vector {
            rows.other_vectors.push(memory.row.id);
        }
    }
    rows
}

#[test]
fn an_index_gives_what_a_scan_gives() {
    let state = prop::sample::select(vec![1_usize, 5, 64, 70]).prop_flat_map(|dimensions| {
        let searches = prop::collection::vec(search(dimensions), 1..3);
        (memories(dimensions), memories(dimensions), prop::collection::vec(0..30_i64, 0..6), searches)
    });
    runner(1)
        .run(&state, |(first, second, removed, mut searches)| {
            let (mut index, mut stored) = (Index::default(), Vec::new());
            for (memories, changed) in [(first, Vec::new()), (second, removed)] {
                let changed: Vec<i64> = changed.into_iter().chain(memories.iter().map(|each| each.row.id)).collect();
                stored.retain(|memory: &Memory| !changed.contains(&memory.row.id));
                // Positions in a session are distinct, as the database makes sure.
                let is_free = |memory: &Memory| !stored.iter().any(|other| other.is_at(&memory.row));
                let memories: Vec<Memory> = memories.into_iter().filter(is_free).collect();
                index.apply(&changed, index_rows(&memories));
                stored.extend(memories);
                stored.sort_by_key(|memory| memory.row.id);
                for search in &mut searches {
                    let (counts, df) = index.statistics(&search.terms, search.now_us);
                    prop_assert_eq!((counts, &df), (scan::counts(&stored, search.now_us), &scan::df(&stored, search)));
                    with_statistics(search, counts.memories, counts.term_occurrences, &df);
                    let expected = scan::rank(&stored, search);
                    for instructions in InstructionSet::available() {
                        prop_assert_eq!(index.search(search, instructions), expected.clone(), "{:?}", instructions);
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_an_index_skips_could_not_have_been_found() {
    let state = prop::sample::select(vec![3_usize, 64, 130]).prop_flat_map(|dimensions| {
        let of_words =
            (prop::collection::btree_set(0..WORDS.len(), 0..6), prop::option::weighted(0.7, vector(dimensions)));
        (crowd(dimensions), of_words, 1..4_usize, 1..4_usize, any::<bool>(), any::<u8>())
    });
    runner(20)
        .run(&state, |(memories, (words, query), limit, top_k, enabled, near)| {
            let mut index = Index::default();
            index.apply(&[], index_rows(&memories));
            let mut search = Search {
                now_us: 0,
                terms: words.into_iter().map(|word| WORDS[word].to_owned()).collect(),
                idf: Vec::new(),
                seeds: Vec::new(),
                fallback_seeds: Vec::new(),
                mean_length: 1.0,
                max_lexical: 0.0,
                // Half of the vectors are one of the memories', so that they have near ones.
                vector: query.map(|query| {
                    if near < 128 {
                        memories[near as usize % memories.len()].vector.clone().unwrap_or(query)
                    } else {
                        query
                    }
                }),
                filter: Filter::default(),
                limit,
                top_k,
                skip: 0,
                contiguity: true,
                bias: Bias { enabled, age_from_s: 0.0, half_life_s: None },
            };
            let (counts, df) = index.statistics(&search.terms, 0);
            with_statistics(&mut search, counts.memories, counts.term_occurrences, &df);
            let expected = scan::rank(&memories, &search);
            for instructions in InstructionSet::available() {
                prop_assert_eq!(index.search(&search, instructions), expected.clone(), "{:?}", instructions);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn quantized_vectors_are_the_vectors_and_their_bounds_are_true() {
    use somabrain_kernel::vectors::{QuantizedVectors, Query, fixed_point};
    let vectors = (1..200_usize).prop_flat_map(|dimensions| (vector(dimensions), vector(dimensions)));
    runner(1)
        .run(&vectors, |(row, query)| {
            let mut stored = QuantizedVectors::default();
            stored.resize(1, row.len());
            stored.set(0, &row);
            prop_assert_eq!(stored.get(0), fixed_point(&row));
            for instructions in InstructionSet::available() {
                let query_vector = Query::new(&query, instructions);
                let distance = stored.distance(0, &query_vector);
                prop_assert_eq!(distance, scan::distance(&row, &query));
                let mut bounds = [0.0; 2];
                let (high, coarse) = bounds.split_at_mut(1);
                stored.high_bounds(0, [&query_vector], [high]);
                stored.coarse_bounds(0, [&query_vector], [coarse]);
                prop_assert!(bounds.iter().all(|&bound| f64::from(bound) >= 1.0 - distance), "{:?}", bounds);
            }
            Ok(())
        })
        .unwrap();
}
