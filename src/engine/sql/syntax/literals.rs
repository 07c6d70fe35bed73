//! The types of literals.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, TimezoneInfo, TypedString, Value, ValueWithSpan, VisitorMut,
};

/// Gives literals their types, as the module above says.
pub(super) struct Literals;

impl VisitorMut for Literals {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        match expression {
            Expr::Value(ValueWithSpan {
                value: Value::Number(number, _),
                ..
            }) if number.contains(['e', 'E']) => {
                let text = Expr::value(Value::SingleQuotedString(std::mem::take(number)));
                *expression = Expr::Cast {
                    kind: CastKind::Cast,
                    expr: Box::new(text),
                    data_type: DataType::DoublePrecision,
                    array: false,
                    format: None,
                };
            }
            Expr::TypedString(TypedString {
                data_type,
                value,
                uses_odbc_syntax: _,
            }) => {
                set_precision(data_type, text_of(&value.value));
            }
            Expr::Cast {
                expr, data_type, ..
            } => {
                let text = match expr.as_ref() {
                    Expr::Value(value) => text_of(&value.value),
                    _ => None,
                };
                set_precision(data_type, text);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn text_of(value: &Value) -> Option<&str> {
    match value {
        Value::SingleQuotedString(text) => Some(text),
        _ => None,
    }
}

/// `TIMESTAMP` is in microseconds, or in nanoseconds if the literal has more digits.
fn set_precision(data_type: &mut DataType, literal: Option<&str>) {
    let zone = match data_type {
        DataType::Timestamp(None, zone) => *zone,
        DataType::Datetime(None) => TimezoneInfo::None,
        _ => return,
    };
    let digits = literal
        .and_then(|text| text.rsplit_once('.'))
        .map_or(0, |(_, fraction)| {
            let digits: &str = fraction
                .split(|c: char| !c.is_ascii_digit())
                .next()
                .unwrap_or_default();
            digits.trim_end_matches('0').len()
        });
    *data_type = DataType::Timestamp(Some(if digits > 6 { 9 } else { 6 }), zone);
}
