//! Numbers in JSON, in a form whose bytes are in the order of their values: exact decimals, without rounding.
//!
//! The counterpart of `somabrain_service.domain.label_condition`.

/// A number that is 0.d1d2d3… · 10^exponent, d1 > 0: its sign, exponent and digits; of a negative one, complemented.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(Box<[u8]>);

const NEGATIVE: u8 = 0;
const ZERO: u8 = 1;
const POSITIVE: u8 = 2;
/// Added to exponents, which are above -2,000, so that their bytes are in their order.
const BIAS: i32 = 0x4000;

impl Number {
    /// Returns the number that a text is; None: it has not the form of one, or an exponent of more than three digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (is_negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, rest) = digits(rest);
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
            return None;
        }
        let (fraction, rest) = match rest.strip_prefix('.') {
            None => ("", rest),
            Some(rest) => Some(digits(rest)).filter(|(fraction, _)| !fraction.is_empty())?,
        };
        let exponent = if rest.is_empty() { 0 } else { exponent(rest.strip_prefix(['e', 'E'])?)? };
        let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let Some(first) = all.iter().position(|&digit| digit != b'0') else {
            return Some(Self([ZERO].into()));
        };
        let end = all.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
        let exponent = (exponent + whole.len() as i32 - first as i32 + BIAS) as u16;
        let mut bytes: Vec<u8> = exponent.to_be_bytes().into_iter().chain(all[first..end].iter().copied()).collect();
        if is_negative {
            bytes.iter_mut().for_each(|byte| *byte = !*byte);
            bytes.push(u8::MAX); // after the digits of a smaller number, which has more
        }
        bytes.insert(0, if is_negative { NEGATIVE } else { POSITIVE });
        Some(Self(bytes.into()))
    }

    pub fn size_bytes(&self) -> usize {
        self.0.len()
    }
}

/// Splits a text after its leading digits.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

fn exponent(text: &str) -> Option<i32> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (digits, rest) = digits(rest);
    if rest.is_empty() && digits.len() <= 3 { digits.parse().ok().map(|value: i32| sign * value) } else { None }
}
