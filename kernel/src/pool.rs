//! The pool: seeds, and the memories of their sessions within twice the reach of one, in runs of neighbours.

use std::ops::Range;

use crate::bitmap::Bitmap;
use crate::columns::{Columns, NO_SESSION};
use crate::sessions::{self, Sessions};

/// Positions over which contiguity reaches.
pub const REACH: i64 = 4;

#[derive(Default)]
pub struct Pool {
    pub rows: Vec<u32>,
    /// The seeds and the rows within reach of one.
    pub eligible: Vec<bool>,
    pub is_seed: Vec<bool>,
    /// Ranges of `rows`: those of one session, in the order of their positions. Rows of two runs lend nothing to
    /// eligible rows of each other.
    pub runs: Vec<Range<usize>>,
}

impl Pool {
    /// Returns the pool of `seeds`, which are distinct and match.
    pub fn new(seeds: &[u32], columns: &Columns, sessions: &Sessions, matching: &Bitmap) -> Self {
        let mut pool = Self::default();
        let mut places: Vec<(u32, usize)> = Vec::with_capacity(seeds.len());
        for &row in seeds {
            let session = columns.fields[row as usize].session;
            if session == NO_SESSION {
                pool.begin_run();
                pool.push(row, true, true);
            } else if let Some(index) = sessions::index_of(sessions.rows(session), row, &columns.fields) {
                places.push((session, index));
            }
        }
        places.sort_unstable();
        for of_session in places.chunk_by(|one, other| one.0 == other.0) {
            pool.add_session(sessions.rows(of_session[0].0), of_session, columns, matching);
        }
        pool
    }

    /// Number of candidates.
    pub fn candidates(&self) -> usize {
        self.eligible.iter().filter(|eligible| **eligible).count()
    }

    fn begin_run(&mut self) {
        self.runs.push(self.rows.len()..self.rows.len());
    }

    fn push(&mut self, row: u32, eligible: bool, is_seed: bool) {
        self.rows.push(row);
        self.eligible.push(eligible);
        self.is_seed.push(is_seed);
        if let Some(run) = self.runs.last_mut() {
            run.end = self.rows.len();
        }
    }

    /// Adds the rows around the seeds of one session, `rows`; `seeds` has their indexes there, sorted.
    fn add_session(&mut self, rows: &[u32], seeds: &[(u32, usize)], columns: &Columns, matching: &Bitmap) {
        let position = |index: usize| columns.fields[rows[index] as usize].position;
        let (mut end, mut seeds_before) = (0, 0);
        for &(_, seed) in seeds {
            let at = position(seed);
            let mut begin = seed;
            while begin > end && at - position(begin - 1) <= 2 * REACH {
                begin -= 1;
            }
            if begin > end || end == 0 {
                self.begin_run();
            }
            let mut index = begin.max(end);
            while index < rows.len() && position(index) - at <= 2 * REACH {
                while seeds.get(seeds_before).is_some_and(|&(_, seed)| seed <= index) {
                    seeds_before += 1;
                }
                if matching.get(rows[index]) {
                    let previous = seeds_before.checked_sub(1).map(|number| seeds[number].1);
                    let next = seeds.get(seeds_before).map(|seed| seed.1);
                    let near = |seed: Option<usize>| {
                        seed.is_some_and(|seed| (position(index) - position(seed)).abs() <= REACH)
                    };
                    self.push(rows[index], near(previous) || near(next), previous == Some(index));
                }
                index += 1;
            }
            end = index;
        }
    }
}
