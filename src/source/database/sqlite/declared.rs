//! The types that SQLite's declared types stand for.
//!
//! SQLite keeps whatever text stands in `CREATE TABLE`. Its own rules find an affinity in it, such
//! as `INTEGER` for whatever has `INT` in it. Those rules hold here too, but for the names of types
//! that SQLite does not have and people write: dates, times, truth values and decimals.

use arrow::datatypes::{DataType, TimeUnit};

use crate::domain::type_names::{arguments, decimal_type, next_word};

/// The type of the values of a column; `None` if its declared type does not tell.
pub(super) fn type_of(declared: &str) -> Option<DataType> {
    use DataType as T;
    let upper = declared.to_uppercase();
    let mut rest = upper.as_str();
    let zoned = upper.contains("WITH TIME ZONE");
    match next_word(&mut rest) {
        "BOOL" | "BOOLEAN" => return Some(T::Boolean),
        "DATE" => return Some(T::Date32),
        "TIME" => return Some(T::Time64(TimeUnit::Nanosecond)),
        "TIMESTAMPTZ" => return Some(utc()),
        "DATETIME" | "TIMESTAMP" if zoned => return Some(utc()),
        "DATETIME" | "TIMESTAMP" => return Some(T::Timestamp(TimeUnit::Microsecond, None)),
        "DECIMAL" | "NUMERIC" => {
            return match arguments(&mut rest)?.as_slice() {
                [precision] => decimal_type(&[precision, "0"]),
                arguments => decimal_type(arguments),
            };
        }
        _ => {}
    }
    let has = |parts: &[&str]| parts.iter().any(|part| upper.contains(part));
    Some(if has(&["INT"]) {
        T::Int64
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        T::Utf8
    } else if has(&["BLOB"]) {
        T::Binary
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        T::Float64
    } else {
        return None;
    })
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::type_names::type_name;

    #[test]
    fn a_declared_type_tells_the_type_of_its_values() {
        for (declared, expected) in [
            ("INTEGER", "int64"),
            ("unsigned big int", "int64"),
            ("VARCHAR(20)", "text"),
            ("national character(10)", "text"),
            ("blob", "binary"),
            ("DOUBLE PRECISION", "float64"),
            ("Boolean", "bool"),
            ("date", "date"),
            ("DATETIME", "timestamp(us)"),
            ("timestamp with time zone", "timestamp(us, UTC)"),
            ("TIME", "time"),
            ("DECIMAL(10, 2)", "decimal(10, 2)"),
            ("numeric(5)", "decimal(5, 0)"),
        ] {
            let found = type_of(declared).map(|found| type_name(&found));
            assert_eq!(found.as_deref(), Some(expected), "{declared}");
        }
        for declared in ["", "NUMERIC", "JSON", "UUID", "STRING", "DECIMAL(50, 2)"] {
            assert_eq!(type_of(declared), None, "{declared}");
        }
    }
}
