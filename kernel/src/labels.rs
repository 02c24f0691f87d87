//! Labels of memories: for each label its values, in the order of their bytes and, of numbers, of their values.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::bitmap::Bitmap;
use crate::condition::{Condition, Operator};
use crate::number::Number;
use crate::prefix::PrefixEnd;

/// Rows in their order, at least one.
enum Rows {
    One(u32),
    Many(Vec<u32>),
}

impl Rows {
    fn push(&mut self, row: u32) {
        match self {
            Self::One(other) => *self = Self::Many(vec![row.min(*other), row.max(*other)]),
            Self::Many(rows) => rows.insert(rows.partition_point(|&other| other < row), row),
        }
    }

    /// Removes a row; returns whether there are no more.
    fn remove(&mut self, row: u32) -> bool {
        match self {
            Self::One(_) => true,
            Self::Many(rows) => {
                if let Ok(index) = rows.binary_search(&row) {
                    rows.remove(index);
                }
                rows.is_empty()
            }
        }
    }

    fn insert_into(&self, bitmap: &mut Bitmap) {
        match self {
            Self::One(row) => bitmap.insert(*row),
            Self::Many(rows) => rows.iter().for_each(|&row| bitmap.insert(row)),
        }
    }
}

#[derive(Default)]
struct Values {
    texts: BTreeMap<Arc<str>, Rows>,
    numbers: BTreeMap<Number, Rows>,
}

/// A label and its value.
type Label = (Arc<str>, Arc<str>);

#[derive(Default)]
pub struct Labels {
    values: HashMap<Arc<str>, Values>,
    of_row: HashMap<u32, Box<[Label]>>,
    bytes: usize,
}

/// Bytes of a label of a row: two pointers, its place among the rows of its value, and a share of the nodes.
const LABEL_BYTES: usize = 32 + 2 * 4 + 24;
/// Bytes of a value beside its text: an entry of a tree whose nodes are filled by two thirds, and an allocation.
const VALUE_BYTES: usize = 60 + 32;

impl Labels {
    /// Adds the labels of a row.
    pub fn add(&mut self, row: u32, labels: &[(String, String)]) {
        if labels.is_empty() {
            return;
        }
        let mut of_row = Vec::with_capacity(labels.len());
        for (label, value) in labels {
            let label: Arc<str> =
                self.values.get_key_value(&**label).map_or_else(|| (&**label).into(), |(known, _)| known.clone());
            let values = self.values.entry(label.clone()).or_default();
            let value: Arc<str> =
                values.texts.get_key_value(&**value).map_or_else(|| (&**value).into(), |(known, _)| known.clone());
            if let Some(number) = Number::parse(&value) {
                self.bytes += if insert(&mut values.numbers, number.clone(), row) {
                    number.size_bytes() + VALUE_BYTES
                } else {
                    0
                };
            }
            self.bytes += if insert(&mut values.texts, value.clone(), row) { value.len() + VALUE_BYTES } else { 0 };
            self.bytes += LABEL_BYTES;
            of_row.push((label, value));
        }
        self.of_row.insert(row, of_row.into());
    }

    /// Removes the labels of a row.
    pub fn remove(&mut self, row: u32) {
        for (label, value) in self.of_row.remove(&row).unwrap_or_default() {
            self.bytes -= LABEL_BYTES;
            let Some(values) = self.values.get_mut(&label) else { continue };
            if let Some(number) = Number::parse(&value) {
                self.bytes -=
                    if remove(&mut values.numbers, &number, row) { number.size_bytes() + VALUE_BYTES } else { 0 };
            }
            self.bytes -= if remove(&mut values.texts, &value, row) { value.len() + VALUE_BYTES } else { 0 };
            if values.texts.is_empty() {
                self.values.remove(&label);
            }
        }
    }

    /// Adds the rows that have exactly this label to `rows`.
    pub fn insert_exact(&self, label: &str, value: &str, rows: &mut Bitmap) {
        if let Some(found) = self.values.get(label).and_then(|values| values.texts.get(value)) {
            found.insert_into(rows);
        }
    }

    /// Adds the rows with a label that meets the condition, or with NOT_EQUAL those that do not, to `rows`.
    pub fn insert_matching(&self, condition: &Condition, rows: &mut Bitmap) {
        let Some(values) = self.values.get(&*condition.label) else { return };
        let mut insert = |found: &Rows| found.insert_into(rows);
        let operand = condition.values.first().map_or("", |value| &**value);
        match condition.operator {
            Operator::Exists => values.texts.values().for_each(insert),
            Operator::Prefix => {
                let end = PrefixEnd::new(operand);
                values.texts.range::<str, _>(end.range(operand)).for_each(|(_, found)| insert(found));
            }
            Operator::Equal | Operator::NotEqual | Operator::In => {
                for operand in &condition.values {
                    let found = match Number::parse(operand) {
                        Some(number) => values.numbers.get(&number),
                        None => values.texts.get(&**operand),
                    };
                    found.into_iter().for_each(&mut insert);
                }
            }
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
                if let Some(number) = Number::parse(operand) {
                    let range = bounds(condition.operator, &number);
                    values.numbers.range::<Number, _>(range).for_each(|(_, found)| insert(found));
                } else {
                    let range = bounds(condition.operator, operand);
                    let texts = values.texts.range::<str, _>(range);
                    texts.filter(|(text, _)| Number::parse(text).is_none()).for_each(|(_, found)| insert(found));
                }
            }
        }
    }

    /// Yields the labels with their values.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().flat_map(|(label, values)| values.texts.keys().map(move |value| (&**label, &**value)))
    }

    pub fn size_bytes(&self) -> usize {
        let slot = size_of::<(u32, Box<[(Arc<str>, Arc<str>)]>)>() + 1;
        self.bytes + self.of_row.capacity() * slot * 8 / 7
    }
}

fn bounds<T: ?Sized>(operator: Operator, operand: &T) -> (Bound<&T>, Bound<&T>) {
    match operator {
        Operator::Less => (Bound::Unbounded, Bound::Excluded(operand)),
        Operator::LessOrEqual => (Bound::Unbounded, Bound::Included(operand)),
        Operator::Greater => (Bound::Excluded(operand), Bound::Unbounded),
        _ => (Bound::Included(operand), Bound::Unbounded),
    }
}

/// Adds a row of a value; returns whether the value is new.
fn insert<K: Ord>(values: &mut BTreeMap<K, Rows>, value: K, row: u32) -> bool {
    match values.entry(value) {
        std::collections::btree_map::Entry::Occupied(mut rows) => {
            rows.get_mut().push(row);
            false
        }
        std::collections::btree_map::Entry::Vacant(entry) => {
            entry.insert(Rows::One(row));
            true
        }
    }
}

/// Removes a row of a value; returns whether the value has no more rows, and was removed.
fn remove<K: Ord + std::borrow::Borrow<Q>, Q: Ord + ?Sized>(
    values: &mut BTreeMap<K, Rows>,
    value: &Q,
    row: u32,
) -> bool {
    let is_last = values.get_mut(value).is_some_and(|rows| rows.remove(row));
    if is_last {
        values.remove(value);
    }
    is_last
}
