//! Scans of many rows give the nearest by their exact distances, alone and beside others.

use std::sync::{Arc, Barrier};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use somabrain_kernel::bitmap::Bitmap;
use somabrain_kernel::columns::Fields;
use somabrain_kernel::dense::{self, MAX_KEPT_ROWS, Nearest, Scan};
use somabrain_kernel::products::InstructionSet;
use somabrain_kernel::shared_scans::SharedScans;
use somabrain_kernel::vectors::{QuantizedVectors, Query};

const SEED: [u8; 32] = *b"the same cases at each execution";

/// Numbers by a seed, uniform in -1 to 1.
struct Drawn(u64);

impl Drawn {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// A vector of length 1; `spread` is that of its components around those of `centre`.
    fn vector(&mut self, centre: &[f32], spread: f32) -> Vec<f32> {
        let vector: Vec<f32> = centre.iter().map(|x| x + spread * self.next()).collect();
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-3) * 1.000_001;
        vector.into_iter().map(|x| x / length).collect()
    }
}

/// Rows with vectors in a few directions, and some without: `spread` is large if each has a direction of its own.
fn rows(seed: u64, rows: usize, dimensions: usize, spread: f32) -> (QuantizedVectors, Vec<Fields>, Bitmap, Drawn) {
    let mut drawn = Drawn(seed);
    let (mut vectors, mut has_vector) = (QuantizedVectors::default(), Bitmap::new(rows));
    vectors.resize(rows, dimensions);
    let centres: Vec<Vec<f32>> = (0..3).map(|_| (0..dimensions).map(|_| drawn.next()).collect()).collect();
    for row in 0..rows as u32 {
        if drawn.next() > -0.95 {
            let vector = drawn.vector(&centres[row as usize % 3], spread);
            vectors.set(row, &vector);
            has_vector.insert(row);
        }
    }
    let fields = (0..rows).map(|row| Fields { id: (rows - row) as i64, ..Fields::default() }).collect();
    (vectors, fields, has_vector, drawn)
}

/// The `limit` nearest by definition.
fn nearest(vectors: &QuantizedVectors, scan: &Scan, fields: &[Fields]) -> Vec<(u32, f64)> {
    let compared = (0..fields.len() as u32).filter(|&row| scan.rows.get(row));
    let mut all: Vec<(u64, i64, u32)> =
        compared.map(|row| (vectors.distance(row, &scan.query).to_bits(), fields[row as usize].id, row)).collect();
    all.sort_unstable();
    all.truncate(scan.limit);
    let mut cosines: Vec<(u32, f64)> =
        all.into_iter().map(|(distance, _, row)| (row, 1.0 - f64::from_bits(distance))).collect();
    cosines.sort_unstable_by_key(|&(row, _)| row);
    cosines
}

/// Scans of all rows or, every third, of some.
fn scans(
    count: usize,
    limit: usize,
    has_vector: &Bitmap,
    rows: &mut Drawn,
    like: impl Fn(usize) -> Vec<f32>,
) -> Vec<Scan> {
    let mut scan = |number: usize| {
        let vector = rows.vector(&like(number), 0.3);
        let mut compared = has_vector.clone();
        if number % 3 == 2 {
            compared.retain(|row| (row as usize / 40 + number) % 3 > 0);
        }
        (vector, compared, limit)
    };
    (0..count)
        .map(|number| {
            let (vector, rows, limit) = scan(number);
            Scan { query: Query::new(&vector, InstructionSet::detect()), rows, limit }
        })
        .collect()
}

#[test]
fn scans_together_give_what_each_gives_alone() {
    let state = (any::<u64>(), 1..700_usize, 1..130_usize, 0..4_i32, 1..8_usize, 1..40_usize);
    let cases = std::env::var("KERNEL_CASES").map_or(10_000, |cases| cases.parse().expect("a number"));
    let config = Config { cases: cases / 20, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED))
        .run(&state, |(seed, count, dimensions, spread, queries, limit)| {
            let (vectors, fields, has_vector, mut drawn) = rows(seed, count, dimensions, 10.0_f32.powi(spread - 2));
            let like = |number: usize| vectors.get(number as u32 % count as u32).iter().map(|x| *x as f32).collect();
            for instructions in InstructionSet::available() {
                let mut scans = scans(queries, limit, &has_vector, &mut drawn, like);
                scans.iter_mut().for_each(|scan| scan.query.instructions = instructions);
                let together = dense::top_k(&vectors, &scans.iter().collect::<Vec<_>>(), &fields);
                for (scan, found) in scans.iter().zip(together) {
                    prop_assert_eq!(&found.cosines, &nearest(&vectors, scan, &fields), "{:?}", instructions);
                    let is_bounded = |row: u32| {
                        let cosine = 1.0 - vectors.distance(row, &scan.query);
                        !scan.rows.get(row) || f64::from(found.bounds[row as usize]) >= cosine
                    };
                    prop_assert!((0..count as u32).all(is_bounded));
                }
            }
            Ok(())
        })
        .unwrap();
}

/// More rows than have kept bounds: the high plane decides alone where it can, as in the clusters here.
#[test]
fn a_namespace_that_exceeds_the_cache_is_searched_exactly() {
    for (spread, count) in [(0.02, MAX_KEPT_ROWS + 20_001), (1.0, MAX_KEPT_ROWS + 1), (30.0, MAX_KEPT_ROWS + 20_000)] {
        let (vectors, fields, has_vector, mut drawn) = rows(7, count, 64, spread);
        let like = |number: usize| vectors.get(number as u32).iter().map(|x| *x as f32).collect();
        for instructions in InstructionSet::available() {
            let mut scans = scans(7, 20, &has_vector, &mut drawn, like);
            scans.iter_mut().for_each(|scan| scan.query.instructions = instructions);
            let found = dense::top_k(&vectors, &scans.iter().collect::<Vec<_>>(), &fields);
            for (scan, found) in scans.iter().zip(found) {
                assert_eq!(found.cosines, nearest(&vectors, scan, &fields), "{instructions:?}, spread {spread}");
                assert!(found.bounds.is_empty());
            }
        }
    }
}

#[test]
fn each_thread_gets_the_result_of_its_own_scan() {
    let (vectors, fields, has_vector, mut drawn) = rows(3, 3_000, 70, 1.0);
    let like = |number: usize| vectors.get(number as u32).iter().map(|x| *x as f32).collect();
    let scans: Vec<Arc<Scan>> = scans(24, 9, &has_vector, &mut drawn, like).into_iter().map(Arc::new).collect();
    for limit in [1, 3] {
        let shared = SharedScans::new(limit);
        let begin = Barrier::new(scans.len());
        std::thread::scope(|scope| {
            for scan in &scans {
                scope.spawn(|| {
                    begin.wait();
                    for _ in 0..50 {
                        let found = shared.run(scan, |scans| dense::top_k(&vectors, scans, &fields));
                        assert_eq!(found.cosines, nearest(&vectors, scan, &fields));
                    }
                });
            }
        });
    }
}

#[test]
fn a_scan_that_fails_fails_no_other() {
    let (_, _, has_vector, mut drawn) = rows(5, 10, 8, 1.0);
    let scans: Vec<Arc<Scan>> =
        scans(8, 1, &has_vector, &mut drawn, |_| vec![1.0; 8]).into_iter().map(Arc::new).collect();
    let shared = SharedScans::new(1);
    let failing = scans[3].clone();
    let scan_all = |scans: &[&Scan]| -> Vec<Nearest> {
        assert!(!scans.iter().any(|scan| std::ptr::eq(*scan, &*failing)), "one that cannot be scanned");
        scans.iter().map(|_| Nearest { others: 0.5, ..Nearest::default() }).collect()
    };
    let results: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> = scans.iter().map(|scan| scope.spawn(|| shared.run(scan, scan_all).others)).collect();
        threads.into_iter().map(|thread| thread.join().is_ok_and(|others| others == 0.5)).collect()
    });
    assert_eq!(results, [true, true, true, false, true, true, true, true]);
}
