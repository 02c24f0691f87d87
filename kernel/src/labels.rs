//! Labels of memories: for each label its values, in the order of their bytes and, of numbers, of their values.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::bitmap::Bitmap;
use crate::condition::{Condition, Operator};
use crate::number::Number;
use crate::ordered::Ordered;
use crate::prefix::PrefixEnd;

/// The values of a label. Those that are numbers are apart, by their spelling and by their value.
#[derive(Default)]
struct Values {
    texts: Ordered<Arc<str>>,
    numerals: Ordered<Arc<str>>,
    numbers: Ordered<Number>,
}

impl Values {
    /// Returns the values of which one spelled like this is.
    fn spelled(&self, is_number: bool) -> &Ordered<Arc<str>> {
        if is_number { &self.numerals } else { &self.texts }
    }

    fn spelled_mut(&mut self, is_number: bool) -> &mut Ordered<Arc<str>> {
        if is_number { &mut self.numerals } else { &mut self.texts }
    }
}

/// The labels of a row with their values.
type RowLabels = Box<[(Arc<str>, Arc<str>)]>;

#[derive(Default)]
pub struct Labels {
    values: HashMap<Arc<str>, Values>,
    of_row: HashMap<u32, RowLabels>,
    bytes: usize,
}

/// Bytes of a label of a row: its two pointers, those among the label's values, its row there, and spare room.
const LABEL_BYTES: usize = 32 + 3 * (16 + 4) / 2;
/// Bytes of a spelling, or of a number, beside its characters: an allocation.
const VALUE_BYTES: usize = 32;

impl Labels {
    /// Adds the labels of a row.
    pub fn add(&mut self, row: u32, labels: &[(String, String)]) {
        if labels.is_empty() {
            return;
        }
        let mut of_row = Vec::with_capacity(labels.len());
        for (label, value) in labels {
            let known = self.values.get_key_value(&**label).map(|(known, _)| known.clone());
            let label = known.unwrap_or_else(|| (&**label).into());
            let values = self.values.entry(label.clone()).or_default();
            let number = Number::parse(value);
            let spelled = values.spelled_mut(number.is_some());
            let value = spelled.stored(&**value).cloned().unwrap_or_else(|| {
                self.bytes += value.len() + VALUE_BYTES;
                (&**value).into()
            });
            spelled.insert(value.clone(), row);
            if let Some(number) = number {
                self.bytes += number_bytes(&number);
                values.numbers.insert(number, row);
            }
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
            let number = Number::parse(&value);
            let spelled = values.spelled_mut(number.is_some());
            spelled.remove(&*value, row);
            if spelled.stored(&*value).is_none() {
                self.bytes -= value.len() + VALUE_BYTES;
            }
            if let Some(number) = number {
                self.bytes -= number_bytes(&number);
                values.numbers.remove(&number, row);
            }
            if values.texts.is_empty() && values.numerals.is_empty() {
                self.values.remove(&label);
            }
        }
    }

    /// Adds the rows that have exactly this label to `rows`.
    pub fn insert_exact(&self, label: &str, value: &str, rows: &mut Bitmap) {
        if let Some(values) = self.values.get(label) {
            values.spelled(Number::parse(value).is_some()).for_each_in(only(value), |row| rows.insert(row));
        }
    }

    /// Adds the rows with a label that meets the condition, or with NOT_EQUAL those that do not, to `rows`.
    pub fn insert_matching(&self, condition: &Condition, rows: &mut Bitmap) {
        let Some(values) = self.values.get(&*condition.label) else { return };
        let mut insert = |row| rows.insert(row);
        let operand = condition.values.first().map_or("", |value| &**value);
        match condition.operator {
            Operator::Exists => {
                for spelled in [&values.texts, &values.numerals] {
                    spelled.for_each_in::<str>((Bound::Unbounded, Bound::Unbounded), &mut insert);
                }
            }
            Operator::Prefix => {
                let end = PrefixEnd::new(operand);
                for spelled in [&values.texts, &values.numerals] {
                    spelled.for_each_in(end.range(operand), &mut insert);
                }
            }
            Operator::Equal | Operator::NotEqual | Operator::In => {
                for operand in &condition.values {
                    match Number::parse(operand) {
                        Some(number) => values.numbers.for_each_in(only(&number), &mut insert),
                        None => values.texts.for_each_in(only(&**operand), &mut insert),
                    }
                }
            }
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
                match Number::parse(operand) {
                    Some(number) => values.numbers.for_each_in(bounds(condition.operator, &number), &mut insert),
                    None => values.texts.for_each_in(bounds(condition.operator, operand), &mut insert),
                }
            }
        }
    }

    /// Yields the labels with their values, once for each row.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().flat_map(|(label, values)| {
            let spelled = values.texts.values().chain(values.numerals.values());
            spelled.map(move |value| (&**label, &**value))
        })
    }

    pub fn size_bytes(&self) -> usize {
        let slot = size_of::<(u32, RowLabels)>() + 1;
        self.bytes + self.of_row.capacity() * slot * 8 / 7
    }
}

/// Bytes of a number of a row: its allocation, its place among the label's numbers, and spare room.
fn number_bytes(number: &Number) -> usize {
    number.size_bytes() + VALUE_BYTES + 3 * (16 + 4) / 2
}

fn only<T: ?Sized>(value: &T) -> (Bound<&T>, Bound<&T>) {
    (Bound::Included(value), Bound::Included(value))
}

fn bounds<T: ?Sized>(operator: Operator, operand: &T) -> (Bound<&T>, Bound<&T>) {
    match operator {
        Operator::Less => (Bound::Unbounded, Bound::Excluded(operand)),
        Operator::LessOrEqual => (Bound::Unbounded, Bound::Included(operand)),
        Operator::Greater => (Bound::Excluded(operand), Bound::Unbounded),
        _ => (Bound::Included(operand), Bound::Unbounded),
    }
}
