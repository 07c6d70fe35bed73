//! `Lake` and `Table`.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use asof::{CompactOptions, GivenRows, IfExists, JoinAsOf, LakeOptions, SnapshotOptions};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use serde::Serialize;

use crate::arguments::{date_of, days_of, key_of, kind_of, names_of, pairs_of, py_date};
use crate::calls::call;
use crate::capsule::FrameReader;
use crate::errors::raised;
use crate::rows::{Diff, Rows, Selected};

#[pyclass(frozen, module = "asof")]
pub(crate) struct Lake {
    lake: Arc<asof::Lake>,
    name: String,
}

#[pymethods]
impl Lake {
    #[new]
    #[pyo3(signature = (root, *, memory=None))]
    fn new(py: Python<'_>, root: PathBuf, memory: Option<u64>) -> PyResult<Self> {
        let name = text_of(root)?;
        let options = with_memory(LakeOptions::new(), memory);
        let root = name.clone();
        let lake = call(py, move || options.open(root))?;
        Ok(Lake {
            lake: Arc::new(lake),
            name,
        })
    }

    #[getter]
    fn tables(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let lake = self.lake.clone();
        call(py, move || lake.tables())
    }

    fn table(&self, py: Python<'_>, name: String) -> PyResult<Table> {
        let table = self.lake.table(&name);
        table.map_err(|error| raised(py, &error))?;
        Ok(Table {
            lake: self.lake.clone(),
            name,
        })
    }

    fn __getitem__(&self, py: Python<'_>, name: String) -> PyResult<Table> {
        self.table(py, name)
    }

    fn __contains__(&self, py: Python<'_>, name: String) -> PyResult<bool> {
        Ok(self.tables(py)?.contains(&name))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let tables = self.tables(py)?.into_pyobject(py)?;
        Ok(tables.try_iter()?.into_any())
    }

    #[pyo3(signature = (table, frame, *, date=None, key=None, if_exists="keep", backdate=false,
                        force=false, dry_run=false))]
    #[allow(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn snapshot<'py>(
        &self,
        py: Python<'py>,
        table: String,
        frame: &Bound<'py, PyAny>,
        date: Option<&Bound<'py, PyAny>>,
        key: Option<&Bound<'py, PyAny>>,
        if_exists: &str,
        backdate: bool,
        force: bool,
        dry_run: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let table = self.table(py, table)?;
        table.snapshot(py, frame, date, key, if_exists, backdate, force, dry_run)
    }

    fn __repr__(&self) -> String {
        format!("asof.Lake({:?})", self.name)
    }
}

/// Opens the lake of an `asof.toml`.
#[pyfunction]
#[pyo3(signature = (config=PathBuf::from("asof.toml"), *, memory=None))]
pub(crate) fn open(py: Python<'_>, config: PathBuf, memory: Option<u64>) -> PyResult<Lake> {
    let name = text_of(config.clone())?;
    let options = with_memory(LakeOptions::new(), memory);
    let lake = call(py, move || options.config_file(config)?.open_configured())?;
    Ok(Lake {
        lake: Arc::new(lake),
        name,
    })
}

fn text_of(path: PathBuf) -> PyResult<String> {
    let text = path.into_os_string().into_string();
    text.map_err(|path| PyValueError::new_err(format!("{path:?} is not valid UTF-8")))
}

fn with_memory(options: LakeOptions, memory: Option<u64>) -> LakeOptions {
    match memory {
        Some(bytes) => options.memory(bytes),
        None => options,
    }
}

#[pyclass(frozen, module = "asof")]
pub(crate) struct Table {
    lake: Arc<asof::Lake>,
    name: String,
}

impl Table {
    /// Makes a call on the table.
    fn call<T: Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&asof::Table<'_>) -> asof::Result<T> + Send + 'static,
    ) -> PyResult<T> {
        let (lake, name) = (self.lake.clone(), self.name.clone());
        call(py, move || work(&lake.table(&name)?))
    }
}

#[pymethods]
impl Table {
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    #[getter]
    fn dates<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let dates = self.call(py, |table| table.dates())?;
        dates.into_iter().map(|date| py_date(py, date)).collect()
    }

    #[pyo3(signature = (date=None, *, columns=None, r#where=None))]
    fn as_of<'py>(
        &self,
        py: Python<'py>,
        date: Option<&Bound<'py, PyAny>>,
        columns: Option<&Bound<'py, PyAny>>,
        r#where: Option<String>,
    ) -> PyResult<Rows> {
        let date = date.map(date_of).transpose()?;
        let selected = Selected {
            columns: names_of(columns)?,
            condition: r#where,
        };
        let rows = self.call(py, move |table| {
            let rows = match date {
                Some(date) => table.as_of(date)?,
                None => table.latest()?,
            };
            let first_days = rows.not_compared();
            Ok((Rows::of_table(rows, selected)?, first_days))
        });
        let (rows, first_days) = rows?;
        warn_of_first_days(py, &rows, &first_days)?;
        Ok(rows)
    }

    #[pyo3(signature = (*, columns=None, r#where=None))]
    fn intervals<'py>(
        &self,
        py: Python<'py>,
        columns: Option<&Bound<'py, PyAny>>,
        r#where: Option<String>,
    ) -> PyResult<Rows> {
        let selected = Selected {
            columns: names_of(columns)?,
            condition: r#where,
        };
        self.call(py, move |table| {
            Rows::of_intervals(table.intervals()?, selected)
        })
    }

    #[pyo3(signature = (*key))]
    fn history<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, pyo3::types::PyTuple>,
    ) -> PyResult<Rows> {
        let key: Vec<String> = key
            .iter()
            .map(|value| key_of(&value))
            .collect::<PyResult<_>>()?;
        self.call(py, move |table| {
            let history = table.history(key)?;
            Ok(Rows::in_memory(
                history.schema().clone(),
                history.batches().to_vec(),
            ))
        })
    }

    fn diff<'py>(
        &self,
        py: Python<'py>,
        before: &Bound<'py, PyAny>,
        after: &Bound<'py, PyAny>,
    ) -> PyResult<Diff> {
        let (before, after) = (date_of(before)?, date_of(after)?);
        self.call(py, move |table| table.diff(before, after).map(Diff::new))
    }

    #[pyo3(signature = (frame, *, date=None, key=None, if_exists="keep", backdate=false,
                        force=false, dry_run=false))]
    #[allow(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn snapshot<'py>(
        &self,
        py: Python<'py>,
        frame: &Bound<'py, PyAny>,
        date: Option<&Bound<'py, PyAny>>,
        key: Option<&Bound<'py, PyAny>>,
        if_exists: &str,
        backdate: bool,
        force: bool,
        dry_run: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut options = SnapshotOptions::new()
            .key(names_of(key)?)
            .if_exists(if_exists_of(if_exists)?)
            .backdate(backdate)
            .force(force)
            .dry_run(dry_run);
        if let Some(date) = date {
            options = options.date(date_of(date)?);
        }
        let frame = FrameReader::open(frame)?;
        let report = self.call(py, move |table| {
            let rows = GivenRows::new(frame.schema().clone(), frame);
            table.snapshot_rows(rows, &options)
        })?;
        document(py, &report)
    }

    #[pyo3(signature = (*, full=false, dry_run=false))]
    fn compact<'py>(
        &self,
        py: Python<'py>,
        full: bool,
        dry_run: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = CompactOptions::new().full(full).dry_run(dry_run);
        let report = self.call(py, move |table| table.compact(&options))?;
        document(py, &report)
    }

    fn verify<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let report = self.call(py, |table| table.verify())?;
        document(py, &report)
    }

    fn __repr__(&self) -> String {
        format!("<asof.Table {}>", self.name)
    }
}

/// Joins events, each to a table as of its own date.
#[pyfunction]
#[pyo3(signature = (events, table, *, on, date, how="left", columns=None, r#where=None, lag=None,
                    tolerance=None, date_format=None, timezone=None))]
#[allow(clippy::too_many_arguments, reason = "they are keywords in Python")]
pub(crate) fn join<'py>(
    py: Python<'py>,
    events: &Bound<'py, PyAny>,
    table: &Bound<'py, Table>,
    on: &Bound<'py, PyAny>,
    date: String,
    how: &str,
    columns: Option<&Bound<'py, PyAny>>,
    r#where: Option<String>,
    lag: Option<&Bound<'py, PyAny>>,
    tolerance: Option<&Bound<'py, PyAny>>,
    date_format: Option<String>,
    timezone: Option<String>,
) -> PyResult<Rows> {
    let pairs = pairs_of(on)?;
    let pairs = pairs.iter().map(|(events, table)| (&**events, &**table));
    let mut join = JoinAsOf::new(date)
        .on(pairs)
        .how(kind_of(how)?)
        .select(names_of(columns)?);
    if let Some(condition) = r#where {
        join = join.condition(condition);
    }
    if let Some(lag) = lag {
        join = join.lag(days_of("lag", lag)?);
    }
    if let Some(tolerance) = tolerance {
        join = join.tolerance(days_of("tolerance", tolerance)?);
    }
    if let Some(format) = date_format {
        join = join.date_format(format);
    }
    if let Some(zone) = timezone {
        join = join.timezone(zone);
    }
    let events = FrameReader::open(events)?;
    table.get().call(py, move |table| {
        let schema = events.schema().clone();
        let events: Vec<RecordBatch> = events.collect::<asof::Result<_>>()?;
        table.join_as_of(schema, events, &join).map(Rows::of_join)
    })
}

fn if_exists_of(text: &str) -> PyResult<IfExists> {
    match text {
        "keep" => Ok(IfExists::Keep),
        "replace" => Ok(IfExists::Replace),
        "error" => Ok(IfExists::Error),
        other => Err(PyValueError::new_err(format!(
            "if_exists is 'keep', 'replace' or 'error', not '{other}'"
        ))),
    }
}

/// Warns of columns whose values may be those of an earlier date.
fn warn_of_first_days(py: Python<'_>, rows: &Rows, columns: &[String]) -> PyResult<()> {
    let shown: Vec<&str> = columns
        .iter()
        .map(String::as_str)
        .filter(|name| rows.has(name))
        .collect();
    if shown.is_empty() {
        return Ok(());
    }
    let what = format!(
        "only the intervals know this date; the values of {}, which they do not compare, are \
         those of each interval's first day",
        shown.join(", ")
    );
    py.import("warnings")?.call_method1("warn", (what,))?;
    Ok(())
}

/// A report as the dictionary that `--json` prints.
fn document<'py>(py: Python<'py>, report: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    let text = serde_json::to_string(report);
    let text = text.map_err(|error| PyTypeError::new_err(error.to_string()))?;
    py.import("json")?.call_method1("loads", (text,))
}
