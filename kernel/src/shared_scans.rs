//! Scans of one index by several threads at a time, which share what they read of memory.
//!
//! One processor is left to the rest of the process; on each of the others runs a scan. Queries that come meanwhile wait,
//! and the next scan is of all of them: so a namespace that does not fit into the processor's cache is read once for many
//! queries just when many ask, and a query that comes alone is scanned at once.

use std::collections::HashMap;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::dense::{Nearest, Scan};

/// Memories of an index that stays in the processor's cache, where a scan of its own is as fast.
pub const MAX_UNSHARED: usize = 20_000;
/// Maximum queries of one scan: more would save little, and the first would wait for the last.
const MAX_QUERIES: usize = 8;

/// The scans at work, and those that wait.
pub struct SharedScans {
    /// Maximum scans at work.
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    at_work: usize,
    next_ticket: u64,
    /// In the order of their coming.
    waiting: Vec<(u64, Arc<Scan>)>,
    /// None: the scan failed.
    done: HashMap<u64, Option<Nearest>>,
}

impl Default for SharedScans {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self::new(processors - 1)
    }
}

impl SharedScans {
    /// Allows `limit` scans at a time, or one.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), state: Mutex::default(), changed: Condvar::new() }
    }

    /// Returns what `scan_all` gives for `scan`; it may be called with the scans of other threads, too.
    ///
    /// `scan_all` returns a result for each scan, in their order, and does the same for all threads. If it panics, it is
    /// called again for each scan alone, by the thread that waits for it.
    pub fn run(&self, scan: &Arc<Scan>, scan_all: impl Fn(&[&Scan]) -> Vec<Nearest>) -> Nearest {
        let mut state = self.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push((ticket, scan.clone()));
        loop {
            if let Some(result) = state.done.remove(&ticket) {
                drop(state);
                return result.or_else(|| scan_all(&[scan]).pop()).unwrap_or_default();
            }
            let is_waiting = state.waiting.iter().any(|(other, _)| *other == ticket);
            if !is_waiting || state.at_work == self.limit {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let count = state.waiting.len().min(MAX_QUERIES);
            let due: Vec<(u64, Arc<Scan>)> = state.waiting.drain(..count).collect();
            state.at_work += 1;
            drop(state);
            let scans: Vec<&Scan> = due.iter().map(|(_, scan)| &**scan).collect();
            let results = catch_unwind(AssertUnwindSafe(|| scan_all(&scans)));
            state = self.lock();
            state.at_work -= 1;
            let mut results = results.unwrap_or_default().into_iter();
            state.done.extend(due.iter().map(|(ticket, _)| (*ticket, results.next())));
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
