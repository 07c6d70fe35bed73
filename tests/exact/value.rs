//! Values as they are written, and what they mean, without asof's help.

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What a text means besides itself.
#[derive(Clone, Debug, PartialEq)]
enum Meaning {
    /// Nothing.
    Text,
    /// A number: its sign, its digits without zeros at either end, and the power of ten of the last
    /// digit.
    Number {
        is_negative: bool,
        digits: String,
        power: i64,
    },
    /// A local time, as nanoseconds from 1970-01-01.
    Local(i128),
    /// An instant.
    Instant(i128),
    /// Nanoseconds from midnight.
    Time(i64),
}

/// A value as text.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) text: String,
    meaning: Meaning,
    /// Whether a number is written as a program writes one: not `007`, `+1` or `1.`.
    is_plain: bool,
}

/// A number's sign, digits and power of ten from its text.
fn number(text: &str) -> Option<(bool, String, i64)> {
    let is_negative = text.starts_with('-');
    let unsigned = text.trim_start_matches(['-', '+']);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty()
        || !all.bytes().all(|byte| byte.is_ascii_digit())
        || text.len() - unsigned.len() > 1
    {
        return None;
    }
    let digits = all.trim_start_matches('0').trim_end_matches('0').to_owned();
    let zeros = all.len() - all.trim_end_matches('0').len();
    let power = if digits.is_empty() {
        0
    } else {
        exponent - fraction.len() as i64 + zeros as i64
    };
    Some((is_negative && !digits.is_empty(), digits, power))
}

impl Value {
    fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        let Some((is_negative, digits, power)) = number(&text) else {
            return Value {
                text,
                meaning: Meaning::Text,
                is_plain: false,
            };
        };
        let mantissa = text
            .trim_start_matches('-')
            .split(['e', 'E'])
            .next()
            .unwrap_or_default();
        let whole = mantissa.split('.').next().unwrap_or_default();
        let is_code = text.starts_with('+')
            || whole.len() > 1 && whole.starts_with('0')
            || mantissa.ends_with('.');
        Value {
            text,
            meaning: Meaning::Number {
                is_negative,
                digits,
                power,
            },
            is_plain: !is_code,
        }
    }

    fn moment(text: String, local: NaiveDateTime, nanoseconds: u32, offset: Option<i64>) -> Self {
        let count =
            i128::from(local.and_utc().timestamp()) * 1_000_000_000 + i128::from(nanoseconds);
        let meaning = match offset {
            None => Meaning::Local(count),
            Some(offset) => Meaning::Instant(count - i128::from(offset) * 1_000_000_000),
        };
        Value {
            text,
            meaning,
            is_plain: true,
        }
    }

    pub(super) fn is_number(&self, text: &str) -> bool {
        let Meaning::Number {
            is_negative,
            digits,
            power,
        } = &self.meaning
        else {
            return false;
        };
        number(text).is_some_and(|(sign, found, at)| {
            sign == *is_negative && found == *digits && (at == *power || digits.is_empty())
        })
    }

    /// Whether a float is this number: printed with as many digits, it has the same.
    fn is_float(&self, value: f64, is_typed: bool, print: impl Fn(usize) -> String) -> bool {
        match &self.meaning {
            Meaning::Number { digits, .. } if digits.is_empty() => {
                // A decimal, of which a float may be made, has no zero with a minus.
                value == 0.0 && (is_typed || value.is_sign_negative() == self.text.starts_with('-'))
            }
            Meaning::Number { digits, .. } => self.is_number(&print(digits.len() - 1)),
            _ => {
                let name = self.text.to_lowercase();
                let expected = match name.trim_start_matches(['-', '+']) {
                    "nan" => return value.is_nan(),
                    "inf" | "infinity" => f64::INFINITY,
                    _ => return false,
                };
                value
                    == if name.starts_with('-') {
                        -expected
                    } else {
                        expected
                    }
            }
        }
    }

    /// Whether a row holds exactly this value, which was written as text, or as a number of JSON.
    pub(super) fn is(&self, column: &dyn Array, row: usize, is_json_number: bool) -> bool {
        if column.data_type() == &DataType::Utf8 || column.data_type() == &DataType::Null {
            let text = if column.is_null(row) || column.data_type() == &DataType::Null {
                ""
            } else {
                column.as_string::<i32>().value(row)
            };
            return text == self.text;
        }
        if self.text.is_empty() {
            return column.is_null(row)
                || column.data_type() == &DataType::Binary
                    && column.as_binary::<i32>().value(row).is_empty();
        }
        // In text, and in a string of JSON, a code is not a number, and a number with a point or an
        // exponent not a whole one.
        let is_integer = column.data_type().is_integer();
        let is_code = !is_json_number
            && (!self.is_plain
                || is_integer && (self.text.contains(['.', 'e', 'E']) || self.text == "-0"));
        if matches!(self.meaning, Meaning::Number { .. })
            && column.data_type().is_numeric()
            && is_code
        {
            return false;
        }
        self.holds(column, row, false)
    }

    /// Whether a row holds exactly this value, which came from a column with a type.
    pub(super) fn is_from_type(&self, column: &dyn Array, row: usize) -> bool {
        self.holds(column, row, true)
    }

    fn holds(&self, column: &dyn Array, row: usize, is_typed: bool) -> bool {
        use DataType as T;
        if column.is_null(row) {
            // As JSON, `null` is a list that is null.
            return self.text.is_empty() || self.text == "null" && column.data_type().is_nested();
        }
        macro_rules! at {
            ($type:ty) => {
                column.as_primitive::<$type>().value(row)
            };
        }
        let local = |count: i64, per: i128| self.meaning == Meaning::Local(i128::from(count) * per);
        let moment = |count: i64, per: i128, zone: bool| match zone {
            false => local(count, per),
            // A local time is an instant where its column is declared to be of UTC.
            true => {
                self.meaning == Meaning::Instant(i128::from(count) * per)
                    || is_typed && local(count, per)
            }
        };
        match column.data_type() {
            T::Int8 => self.is_number(&at!(Int8Type).to_string()),
            T::Int16 => self.is_number(&at!(Int16Type).to_string()),
            T::Int32 => self.is_number(&at!(Int32Type).to_string()),
            T::Int64 => self.is_number(&at!(Int64Type).to_string()),
            T::UInt8 => self.is_number(&at!(UInt8Type).to_string()),
            T::UInt16 => self.is_number(&at!(UInt16Type).to_string()),
            T::UInt32 => self.is_number(&at!(UInt32Type).to_string()),
            T::UInt64 => self.is_number(&at!(UInt64Type).to_string()),
            T::Float32 => {
                let value = at!(Float32Type);
                self.is_float(f64::from(value), is_typed, |digits| {
                    format!("{value:.digits$e}")
                })
            }
            T::Float64 => {
                let value = at!(Float64Type);
                self.is_float(value, is_typed, |digits| format!("{value:.digits$e}"))
            }
            T::Decimal128(_, scale) => {
                self.is_number(&format!("{}e{}", at!(Decimal128Type), -i64::from(*scale)))
            }
            T::Boolean => {
                let truth: &BooleanArray = column.as_boolean();
                self.text
                    .eq_ignore_ascii_case(if truth.value(row) { "true" } else { "false" })
            }
            T::Date32 => local(i64::from(at!(Date32Type)), 86_400_000_000_000),
            T::Time32(_) => {
                self.meaning == Meaning::Time(i64::from(at!(Time32MillisecondType)) * 1_000_000)
            }
            T::Time64(_) => self.meaning == Meaning::Time(at!(Time64NanosecondType)),
            T::Timestamp(TimeUnit::Millisecond, zone) => {
                moment(at!(TimestampMillisecondType), 1_000_000, zone.is_some())
            }
            T::Timestamp(TimeUnit::Microsecond, zone) => {
                moment(at!(TimestampMicrosecondType), 1_000, zone.is_some())
            }
            T::Timestamp(TimeUnit::Nanosecond, zone) => {
                moment(at!(TimestampNanosecondType), 1, zone.is_some())
            }
            T::Binary => {
                let bytes = column.as_binary::<i32>().value(row);
                bytes
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>()
                    == self.text.to_lowercase()
            }
            T::List(_) => {
                let items = column.as_list::<i32>().value(row);
                let items = items.as_primitive::<Int64Type>();
                let shown = items
                    .iter()
                    .map(|item| item.map_or("null".to_owned(), |item| item.to_string()));
                format!("[{}]", shown.collect::<Vec<_>>().join(",")) == self.text.replace(' ', "")
            }
            // Text that a typed value became is as good as the value: it reads back as it.
            T::Utf8 => {
                let text = column.as_string::<i32>().value(row);
                let again = Value::of(text);
                // Bytes become the text that they are in UTF-8.
                let bytes = text
                    .bytes()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>();
                bytes == self.text.to_lowercase()
                    || text == self.text
                    || again.meaning == self.meaning && self.meaning != Meaning::Text
                    || text.eq_ignore_ascii_case(&self.text)
                    || is_same_list(text, &self.text)
            }
            _ => false,
        }
    }

    /// What text means, of the forms in which asof prints values.
    fn of(text: &str) -> Self {
        let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
        let zoned = text.ends_with('Z');
        let bare = text.trim_end_matches('Z');
        let parsed = formats
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(bare, format).ok());
        let parsed = parsed.or_else(|| {
            NaiveDate::parse_from_str(bare, "%Y-%m-%d")
                .ok()
                .map(|day| day.and_time(NaiveTime::MIN))
        });
        if let Some(local) = parsed {
            return Value::moment(
                text.to_owned(),
                local,
                local.nanosecond(),
                zoned.then_some(0),
            );
        }
        if let Ok(time) = NaiveTime::parse_from_str(text, "%H:%M:%S%.f") {
            let count = i64::from(time.num_seconds_from_midnight()) * 1_000_000_000
                + i64::from(time.nanosecond());
            return Value {
                text: text.to_owned(),
                meaning: Meaning::Time(count),
                is_plain: true,
            };
        }
        Value::text(text)
    }
}

/// Whether both are JSON of the same list: blanks do not count.
fn is_same_list(one: &str, other: &str) -> bool {
    let list = |text: &str| serde_json::from_str::<Vec<Option<i64>>>(text).ok();
    list(one).is_some_and(|one| list(other) == Some(one))
}

/// The edges of every type, and numbers, moments and texts at random, `count` of each.
pub(super) fn values(count: usize) -> Vec<Value> {
    let mut rng = StdRng::seed_from_u64(11);
    let mut values: Vec<Value> = EDGES.iter().map(|text| Value::text(*text)).collect();
    for bits in [7u32, 8, 15, 16, 24, 31, 32, 53, 63, 64, 127] {
        let edge = if bits == 127 {
            i128::MAX
        } else {
            1i128 << bits
        };
        values.extend(
            [
                edge - 1,
                edge,
                edge.saturating_add(1),
                -edge,
                -edge + 1,
                -edge - 1,
            ]
            .map(|edge| Value::text(edge.to_string())),
        );
    }
    values.push(Value::text("long ".repeat(20_000)));
    for day in [
        "0001-01-01",
        "1600-05-05",
        "1677-09-21",
        "1969-12-31",
        "1970-01-01",
        "2024-02-29",
        "2262-04-12",
        "9999-12-31",
    ] {
        let date: NaiveDate = day.parse().expect("a day");
        values.push(Value::moment(
            day.to_owned(),
            date.and_time(NaiveTime::MIN),
            0,
            None,
        ));
        for time in [
            "00:00:00",
            "23:59:59.999",
            "10:00:00.123456",
            "23:59:59.999999999",
            "23:59:59.9999999",
        ] {
            let parsed = NaiveTime::parse_from_str(time, "%H:%M:%S%.f").expect("a time");
            for (zone, offset) in [
                ("", None),
                ("Z", Some(0)),
                ("+05:30", Some(19_800)),
                (" UTC", Some(0)),
                (" Etc/GMT+5", Some(-18_000)),
            ] {
                let text = format!(
                    "{day}{}{time}{zone}",
                    if offset.is_none() { ' ' } else { 'T' }
                );
                values.push(Value::moment(
                    text,
                    date.and_time(parsed),
                    parsed.nanosecond(),
                    offset,
                ));
            }
        }
    }
    for time in [
        "00:00:00",
        "10:00:00.5",
        "23:59:59.999999999",
        "12:34:56.123",
    ] {
        let parsed = NaiveTime::parse_from_str(time, "%H:%M:%S%.f").expect("a time");
        let count = i64::from(parsed.num_seconds_from_midnight()) * 1_000_000_000
            + i64::from(parsed.nanosecond());
        values.push(Value {
            text: time.to_owned(),
            meaning: Meaning::Time(count),
            is_plain: true,
        });
    }
    let digits = |rng: &mut StdRng, most: usize| {
        (0..rng.random_range(1..=most))
            .map(|_| char::from(b'0' + rng.random_range(0..10u8)))
            .collect::<String>()
    };
    for round in 0..count {
        let sign = ["", "", "-", "+"][rng.random_range(0..4)];
        let whole = digits(&mut rng, if round % 3 == 0 { 40 } else { 6 });
        let text = match round % 4 {
            0 => format!("{sign}{whole}"),
            1 => format!("{sign}{whole}.{}", digits(&mut rng, 20)),
            2 => format!(
                "{sign}{}e{}",
                whole.chars().next().unwrap_or('1'),
                rng.random_range(-40..40)
            ),
            _ => format!("{}", f64::from_bits(rng.random())),
        };
        values.push(Value::text(text));
    }
    values
}

const EDGES: &[&str] = &[
    "",
    "0",
    "-0",
    "0.0",
    "-0.0",
    "1",
    "-1",
    "007",
    "+1",
    "1.",
    ".5",
    "-.5",
    "1e5",
    "12E3",
    "1E-3",
    "1e400",
    "-1e400",
    "1e-400",
    "5e-324",
    "4e-324",
    "1.7976931348623157e308",
    "1.8e308",
    "3.4028235e38",
    "3.5e38",
    "1e39",
    "0.1",
    "0.10000000000000001",
    "0.1000000000000000055511151231257827",
    "0.1000000000000000000000000000000000001",
    "1.005",
    "1.20",
    "999.99",
    "1000.00",
    "16777217",
    "9007199254740993",
    "9007199254740992.0",
    "99999999999999999999999999999999999999",
    "-99999999999999999999999999999999999999",
    "100000000000000000000000000000000000000",
    "0.99999999999999999999999999999999999999",
    "NaN",
    "nan",
    "inf",
    "-inf",
    "Infinity",
    "-INFINITY",
    "true",
    "False",
    "TRUE",
    "t",
    "yes",
    "null",
    "N/A",
    "2023-02-29",
    "0000-01-01",
    "10000-01-01",
    "2024-13-01",
    "2024-01-01 25:00:00",
    "24:00:00",
    "2024-01-01 10:00:00 Nowhere",
    "00ff",
    "FF00aa",
    "0",
    "[1, 2]",
    "[1, null]",
    "[1.5]",
    "{}",
    "a,b\t\"c\"",
    "line\nbreak",
    " 1",
    "1 ",
    "\u{e9}t\u{e9} \u{1F980}",
];
