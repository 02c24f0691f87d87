//! Growth of buffers by an eighth: vectors are most of an index, and doubling the capacity would waste memory.

/// Makes room for `additional` elements.
pub fn reserve<T>(buffer: &mut Vec<T>, additional: usize) {
    if buffer.capacity() - buffer.len() < additional {
        buffer.reserve_exact(additional.max(buffer.len() / 8));
    }
}

/// Appends an element.
pub fn push<T>(buffer: &mut Vec<T>, element: T) {
    reserve(buffer, 1);
    buffer.push(element);
}

/// Extends the buffer to `len` elements.
pub fn extend_to<T: Copy>(buffer: &mut Vec<T>, len: usize, element: T) {
    if len > buffer.len() {
        reserve(buffer, len - buffer.len());
        buffer.resize(len, element);
    }
}

/// Returns the bytes that a buffer occupies.
pub fn bytes<T>(buffer: &Vec<T>) -> usize {
    buffer.capacity() * size_of::<T>()
}
