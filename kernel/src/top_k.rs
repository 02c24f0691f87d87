//! The k lowest keys of a stream, in a buffer that is cut when it is full: amortized constant time a key.

/// Keys beyond 2·k that the buffer has room for.
const SPARE: usize = 2;

pub struct TopK<K> {
    limit: usize,
    buffer: Vec<K>,
    /// The k-th lowest key at the last cut; a higher one cannot be among the k lowest.
    cut: Option<K>,
}

impl<K: Ord + Copy> TopK<K> {
    pub fn new(limit: usize) -> Self {
        Self { limit, buffer: Vec::with_capacity(2 * limit + SPARE), cut: None }
    }

    /// The k-th lowest key at the last cut; None: there were fewer keys.
    pub fn cut(&self) -> Option<K> {
        self.cut
    }

    /// Adds a key. Returns whether the cut is another now.
    #[inline]
    pub fn push(&mut self, key: K) -> bool {
        if self.cut.is_some_and(|cut| key > cut) {
            return false;
        }
        self.buffer.push(key);
        let is_full = self.buffer.len() >= 2 * self.limit + SPARE;
        if is_full {
            self.prune();
        }
        is_full
    }

    /// Cuts the buffer now.
    pub fn prune(&mut self) {
        if self.buffer.len() >= self.limit && self.limit > 0 {
            let (_, &mut highest, _) = self.buffer.select_nth_unstable(self.limit - 1);
            self.cut = Some(highest);
        }
        self.buffer.truncate(self.limit);
    }

    /// Returns the k lowest keys, unsorted.
    pub fn finish(mut self) -> Vec<K> {
        self.prune();
        self.buffer
    }
}
