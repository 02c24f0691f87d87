//! Conditions on labels, as `somabrain_service.domain.label_condition` defines them.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Prefix,
    Exists,
}

impl Operator {
    pub const ALL: [Self; 9] = [
        Self::Equal,
        Self::NotEqual,
        Self::Less,
        Self::LessOrEqual,
        Self::Greater,
        Self::GreaterOrEqual,
        Self::In,
        Self::Prefix,
        Self::Exists,
    ];

    /// Returns the operator with this number in the contract.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

#[derive(Clone, Debug)]
pub struct Condition {
    pub label: String,
    pub operator: Operator,
    pub values: Vec<String>,
}
