//! Values, and when two of them are the same.
//!
//! Nulls are the same, and so are NaNs, both zeros, a whole number in any width, midnight as a date
//! and as a timestamp.

use std::cmp::Ordering;

/// One cell.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Real(f64),
    Text(String),
    /// A date or a timestamp, in microseconds.
    Time(i64),
    /// A decimal, in ten-thousandths.
    Decimal(i128),
    List(Vec<Value>),
    Struct(Vec<Value>),
}

impl Value {
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    fn rank(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(_) | Value::Real(_) => 2,
            Value::Text(_) => 3,
            Value::Time(_) => 4,
            Value::Decimal(_) => 5,
            Value::List(_) => 6,
            Value::Struct(_) => 7,
        }
    }

    fn real(&self) -> f64 {
        match self {
            Value::Int(value) => *value as f64,
            Value::Real(value) if value.is_nan() => f64::NAN,
            Value::Real(value) => *value + 0.0,
            _ => unreachable!("no number"),
        }
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Value::Time(a), Value::Time(b)) => a.cmp(b),
            (Value::Decimal(a), Value::Decimal(b)) => a.cmp(b),
            (Value::List(a), Value::List(b)) | (Value::Struct(a), Value::Struct(b)) => a.cmp(b),
            (a, b) if a.rank() == 2 && b.rank() == 2 => a.real().total_cmp(&b.real()),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}
