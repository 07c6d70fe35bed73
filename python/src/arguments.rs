//! Arguments as users of Python write them.

use asof::JoinKind;
use asof::model::{DaySpan, parse_date};
use chrono::NaiveDate;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyString};

use crate::errors::raised;

/// A date: a `datetime.date`, or text such as `2024-09-14`. Of a `datetime.datetime` it is the day.
pub(crate) fn date_of(given: &Bound<'_, PyAny>) -> PyResult<NaiveDate> {
    let py = given.py();
    let text = match given.cast::<PyString>() {
        Ok(text) => text.to_string(),
        Err(_) if given.hasattr("isoformat")? => {
            let iso: String = given.call_method0("isoformat")?.extract()?;
            iso.get(..10).unwrap_or(&iso).to_owned()
        }
        Err(_) => {
            let kind = given.get_type().name()?;
            let what = format!("a date is a datetime.date, or text such as 2024-09-14, not {kind}");
            return Err(PyTypeError::new_err(what));
        }
    };
    parse_date(&text).map_err(|error| raised(py, &error))
}

/// A date of asof as one of Python.
pub(crate) fn py_date(py: Python<'_>, date: NaiveDate) -> PyResult<Bound<'_, PyAny>> {
    let class = py.import("datetime")?.getattr("date")?;
    class.call_method1("fromisoformat", (date.to_string(),))
}

/// A number of days: an integer, a `datetime.timedelta` of whole days, or text such as `1d`.
pub(crate) fn days_of(name: &str, given: &Bound<'_, PyAny>) -> PyResult<u32> {
    let py = given.py();
    if let Ok(text) = given.cast::<PyString>() {
        let span: asof::Result<DaySpan> = text.to_str()?.parse();
        return span.map(|span| span.0).map_err(|error| raised(py, &error));
    }
    let is_flag = given.is_instance_of::<PyBool>();
    if !is_flag && let Ok(days) = given.extract::<u32>() {
        return Ok(days);
    }
    if given.hasattr("total_seconds")? {
        let seconds: f64 = given.call_method0("total_seconds")?.extract()?;
        let days: i64 = given.getattr("days")?.extract()?;
        let whole = py.import("datetime")?.call_method1("timedelta", (days,))?;
        if seconds >= 0.0 && given.eq(whole)? {
            return u32::try_from(days).map_err(|_| not_days(name));
        }
    }
    Err(not_days(name))
}

fn not_days(name: &str) -> PyErr {
    PyValueError::new_err(format!(
        "{name} is a number of days: an integer from 0, a timedelta of whole days, or text such \
         as '1d'"
    ))
}

/// Names of columns: one, or several.
pub(crate) fn names_of(given: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<String>> {
    match given {
        None => Ok(Vec::new()),
        Some(given) => match given.cast::<PyString>() {
            Ok(name) => Ok(vec![name.to_string()]),
            Err(_) => given.try_iter()?.map(|name| name?.extract()).collect(),
        },
    }
}

/// Pairs of columns that are joined: a mapping of the events' to the table's, or names that both
/// have.
pub(crate) fn pairs_of(given: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    match given.cast::<PyDict>() {
        Ok(pairs) => pairs
            .iter()
            .map(|(events, table)| Ok((events.extract()?, table.extract()?)))
            .collect(),
        Err(_) => {
            let names = names_of(Some(given))?;
            Ok(names.into_iter().map(|name| (name.clone(), name)).collect())
        }
    }
}

/// What a join keeps.
pub(crate) fn kind_of(how: &str) -> PyResult<JoinKind> {
    match how {
        "inner" => Ok(JoinKind::Inner),
        "left" => Ok(JoinKind::Left),
        "semi" => Ok(JoinKind::Semi),
        "anti" => Ok(JoinKind::Anti),
        other => Err(PyValueError::new_err(format!(
            "how is 'inner', 'left', 'semi' or 'anti', not '{other}'"
        ))),
    }
}

/// A value of a key as the command line writes it.
pub(crate) fn key_of(given: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(bytes) = given.cast::<PyBytes>() {
        let digits = bytes.as_bytes().iter().map(|byte| format!("{byte:02x}"));
        return Ok(digits.collect());
    }
    if given.is_instance_of::<PyBool>() {
        return Ok(given.extract::<bool>()?.to_string());
    }
    if given.is_none() {
        return Err(PyTypeError::new_err("a key is never None"));
    }
    Ok(given.str()?.to_string())
}
