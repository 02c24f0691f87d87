//! Strings that begin with a prefix, as a range in the order of their bytes: its ends alone are compared.

use std::ops::Bound;

/// The first string after all that begin with a prefix.
pub struct PrefixEnd(Option<String>);

impl PrefixEnd {
    pub fn new(prefix: &str) -> Self {
        let stem = prefix.trim_end_matches(char::MAX);
        let mut end = stem.to_owned();
        // In UTF-8 the order of bytes is that of characters.
        let next = end.pop().and_then(|last| ((last as u32 + 1)..=char::MAX as u32).find_map(char::from_u32));
        Self(next.map(|next| {
            end.push(next);
            end
        }))
    }

    /// Returns the range of the strings that begin with `prefix`, of which this is the end.
    pub fn range<'a>(&'a self, prefix: &'a str) -> (Bound<&'a str>, Bound<&'a str>) {
        (Bound::Included(prefix), self.0.as_deref().map_or(Bound::Unbounded, Bound::Excluded))
    }
}

#[cfg(test)]
mod tests {
    use super::PrefixEnd;
    use std::ops::RangeBounds;

    #[test]
    fn the_range_has_the_strings_that_begin_with_the_prefix_and_no_others() {
        let parts = ["", "a", "b", "\0", "\u{7f}", "\u{d7ff}", "\u{e000}", "\u{ffff}", "\u{10fffe}", "\u{10ffff}"];
        let all: Vec<String> = parts
            .iter()
            .flat_map(|one| parts.iter().flat_map(move |two| parts.map(|three| format!("{one}{two}{three}"))))
            .collect();
        for prefix in &all {
            let end = PrefixEnd::new(prefix);
            for text in &all {
                assert_eq!(end.range(prefix).contains(&&**text), text.starts_with(&**prefix), "{prefix:?} {text:?}");
            }
        }
    }
}
