//! Points in time: dates, timestamps and literals that are read as them.

use std::sync::Arc;

use arrow::array::types::{Date32Type, TimestampNanosecondType, TimestampSecondType};
use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Cast, Expr};

use super::{Purpose, cast_to, combined, instant};
use crate::engine::sql::functions::{INSTANT, nanoseconds_in};

/// Whether a type is one of points in time.
pub(super) fn is_point(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Timestamp(..))
}

pub(super) fn zone_of(data_type: &DataType) -> Option<Arc<str>> {
    match data_type {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    }
}

/// An expression among dates and timestamps.
pub(super) enum Point {
    /// A moment in nanoseconds that is known, and whether it is a day.
    Known {
        moment: i128,
        is_day: bool,
        zone: Option<Arc<str>>,
    },
    /// Whatever the expression gives.
    Unknown(DataType),
    Null,
}

/// Brings dates and timestamps of several types, or beside literals, to types in which none loses
/// digits.
pub(super) fn align_points(exprs: Vec<Expr>, types: &[DataType], purpose: Purpose) -> Vec<Expr> {
    let points: Option<Vec<Point>> = exprs
        .iter()
        .zip(types)
        .map(|(expr, data_type)| point(expr, data_type))
        .collect();
    let Some(points) = points.filter(|_| types.iter().any(is_point)) else {
        return exprs;
    };
    let Some(target) = target_of(&points, purpose) else {
        return exprs;
    };
    let rewritten = exprs
        .into_iter()
        .zip(points)
        .map(|(expr, point)| match (point, &target) {
            (Point::Null, PointTarget::Type(to)) => cast_to(expr, to),
            (Point::Null, PointTarget::Instants) => cast_to(expr, &INSTANT),
            (Point::Known { moment, .. }, PointTarget::Type(to)) => {
                literal(moment, to).unwrap_or(expr)
            }
            (Point::Known { moment, .. }, PointTarget::Instants) => {
                Expr::Literal(ScalarValue::Decimal128(Some(moment), 38, 0), None)
            }
            (Point::Unknown(data_type), PointTarget::Type(to)) if data_type == *to => expr,
            (Point::Unknown(data_type), PointTarget::Type(to)) => combined(expr, &data_type, to),
            (Point::Unknown(_), PointTarget::Instants) => instant(expr),
        });
    rewritten.collect()
}

/// What points in time are brought to.
enum PointTarget {
    Type(DataType),
    /// Nanoseconds that no type of timestamps holds, for a comparison alone.
    Instants,
}

/// The target of points; `None` if they stay as they are.
fn target_of(points: &[Point], purpose: Purpose) -> Option<PointTarget> {
    let unknown = types_of_unknown(points);
    let zone = points.iter().find_map(|point| match point {
        Point::Known { zone, is_day, .. } if !is_day => zone.clone(),
        Point::Unknown(data_type) => zone_of(data_type),
        _ => None,
    });
    let known = || {
        points.iter().filter_map(|point| match point {
            Point::Known { moment, is_day, .. } => Some((*moment, *is_day)),
            _ => None,
        })
    };
    let fits =
        |data_type: &DataType| known().all(|(moment, _)| literal(moment, data_type).is_some());
    let microseconds = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
    // The type that all of them have already, or that literals can take exactly.
    let same = match unknown.as_slice() {
        [] if known().all(|(_, is_day)| is_day) => Some(DataType::Date32),
        [] => Some(microseconds.clone()),
        [one] => Some((*one).clone()),
        _ => None,
    };
    if let Some(same) = same.filter(|same| fits(same) && zone_of(same) == zone) {
        return Some(PointTarget::Type(same));
    }
    let is_coarse = unknown
        .iter()
        .all(|data_type| !matches!(data_type, DataType::Timestamp(TimeUnit::Nanosecond, _)));
    match purpose {
        // Nothing of these loses anything in microseconds.
        _ if is_coarse && fits(&microseconds) => Some(PointTarget::Type(microseconds)),
        Purpose::Compare => Some(PointTarget::Instants),
        Purpose::Combine if fits(&microseconds) => Some(PointTarget::Type(microseconds)),
        Purpose::Combine => None,
    }
}

/// The types of the points whose values are not known; several in a row of one type are one.
fn types_of_unknown(points: &[Point]) -> Vec<&DataType> {
    let mut types: Vec<&DataType> = points
        .iter()
        .filter_map(|point| match point {
            Point::Unknown(of) => Some(of),
            _ => None,
        })
        .collect();
    types.dedup();
    types
}

/// What is known of an expression as a point in time; `None` if it is not one.
pub(super) fn point(expr: &Expr, data_type: &DataType) -> Option<Point> {
    let known = match expr {
        Expr::Literal(scalar, _) if scalar.is_null() => return Some(Point::Null),
        Expr::Literal(scalar, _) => moment_of(scalar, None),
        Expr::Cast(Cast { expr, field }) => match expr.as_ref() {
            Expr::Literal(scalar, _) if is_point(field.data_type()) => {
                moment_of(scalar, Some(field.data_type()))
            }
            _ => None,
        },
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "microseconds" => {
            match args.as_slice() {
                [Expr::Literal(scalar, _)] => moment_of(scalar, Some(data_type)),
                _ => None,
            }
        }
        _ => None,
    };
    match known {
        Some(known) => Some(known),
        None if is_point(data_type) => Some(Point::Unknown(data_type.clone())),
        None => None,
    }
}

/// The moment of a literal, which may be text that is read as `wanted`, or as whatever it is.
fn moment_of(scalar: &ScalarValue, wanted: Option<&DataType>) -> Option<Point> {
    let known = |moment, is_day, zone| {
        Some(Point::Known {
            moment,
            is_day,
            zone,
        })
    };
    const DAY: i128 = 86_400_000_000_000;
    match scalar {
        ScalarValue::Utf8(Some(text)) => {
            let text = text.trim();
            let zone = wanted.and_then(zone_of);
            let is_day = !text.contains([':', 'T', ' ']);
            let day = |text: &str| {
                read(text, &DataType::Date32)
                    .map(|array| i128::from(array.as_primitive::<Date32Type>().value(0)) * DAY)
            };
            match wanted {
                Some(DataType::Date32) => known(day(text)?, true, None),
                _ if is_day => known(day(text)?, wanted.is_none(), zone),
                _ => known(moment_of_text(text)?, false, zone),
            }
        }
        ScalarValue::Date32(Some(days)) => known(i128::from(*days) * DAY, true, None),
        ScalarValue::TimestampSecond(Some(value), zone) => {
            known(i128::from(*value) * 1_000_000_000, false, zone.clone())
        }
        ScalarValue::TimestampMillisecond(Some(value), zone) => {
            known(i128::from(*value) * 1_000_000, false, zone.clone())
        }
        ScalarValue::TimestampMicrosecond(Some(value), zone) => {
            known(i128::from(*value) * 1_000, false, zone.clone())
        }
        ScalarValue::TimestampNanosecond(Some(value), zone) => {
            known(i128::from(*value), false, zone.clone())
        }
        _ => None,
    }
}

/// Text as a value of a type.
fn read(text: &str, data_type: &DataType) -> Option<ArrayRef> {
    let options = arrow::compute::CastOptions {
        safe: false,
        ..Default::default()
    };
    arrow::compute::cast_with_options(&StringArray::from(vec![text]), data_type, &options).ok()
}

/// The moment of a date with a time, in nanoseconds.
fn moment_of_text(text: &str) -> Option<i128> {
    if let Some(array) = read(text, &DataType::Timestamp(TimeUnit::Nanosecond, None)) {
        return Some(i128::from(
            array.as_primitive::<TimestampNanosecondType>().value(0),
        ));
    }
    // Beyond the range of nanoseconds: whole seconds, and the digits after them.
    let whole = text.split('.').next().unwrap_or(text);
    let seconds = read(whole, &DataType::Timestamp(TimeUnit::Second, None))?;
    let seconds =
        i128::from(seconds.as_primitive::<TimestampSecondType>().value(0)) * 1_000_000_000;
    let fraction = match text.split_once('.') {
        None => 0,
        Some((_, digits))
            if digits.len() <= 9 && digits.bytes().all(|digit| digit.is_ascii_digit()) =>
        {
            format!("{digits:0<9}").parse().ok()?
        }
        Some(_) => return None,
    };
    Some(seconds + fraction)
}

/// A moment as a literal of a type, if the type holds it exactly.
pub(super) fn literal(moment: i128, data_type: &DataType) -> Option<Expr> {
    let of = |nanoseconds: i128| (moment % nanoseconds == 0).then_some(moment / nanoseconds);
    let scalar = match data_type {
        DataType::Date32 => ScalarValue::Date32(Some(i32::try_from(of(86_400_000_000_000)?).ok()?)),
        DataType::Timestamp(unit, zone) => {
            let value = Some(i64::try_from(of(nanoseconds_in(*unit))?).ok()?);
            match unit {
                TimeUnit::Second => ScalarValue::TimestampSecond(value, zone.clone()),
                TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(value, zone.clone()),
                TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(value, zone.clone()),
                TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(value, zone.clone()),
            }
        }
        _ => return None,
    };
    Some(Expr::Literal(scalar, None))
}
