//! `Rows`: rows that polars, pandas, pyarrow and DuckDB take without a copy.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use asof::{JoinedRows, TableIntervals};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};

use crate::arguments::py_date;
use crate::calls::call;
use crate::capsule::{Batches, FrameReader, schema_capsule, stream_capsule};
use crate::errors::raised;

/// About how many rows a piece has.
const PIECE_ROWS: usize = 65_536;

/// Where rows come from.
#[derive(Clone)]
enum RowsFrom {
    /// A table as of a date: the named columns of the rows for which the condition holds.
    Table(Arc<asof::Rows>, Selected),
    Intervals(Arc<TableIntervals>, Selected),
    Join(Arc<JoinedRows>),
    Memory(Arc<Vec<RecordBatch>>),
}

/// Columns, or all if none is named, and a condition.
#[derive(Clone, Default)]
pub(crate) struct Selected {
    pub(crate) columns: Vec<String>,
    pub(crate) condition: Option<String>,
}

impl Selected {
    fn columns(&self) -> Vec<&str> {
        self.columns.iter().map(String::as_str).collect()
    }

    fn condition(&self) -> Option<&str> {
        self.condition.as_deref()
    }

    /// Checks the condition before somebody reads by it.
    fn check(&self, check: impl FnOnce(&str) -> asof::Result<()>) -> asof::Result<()> {
        self.condition().map_or(Ok(()), check)
    }
}

#[pyclass(frozen, module = "asof")]
pub(crate) struct Rows {
    schema: SchemaRef,
    from: RowsFrom,
}

impl Rows {
    pub(crate) fn of_table(rows: asof::Rows, selected: Selected) -> asof::Result<Self> {
        let schema = rows.projected(&selected.columns())?;
        selected.check(|condition| rows.check_condition(condition))?;
        Ok(Rows {
            schema,
            from: RowsFrom::Table(Arc::new(rows), selected),
        })
    }

    pub(crate) fn of_intervals(
        intervals: TableIntervals,
        selected: Selected,
    ) -> asof::Result<Self> {
        let schema = intervals.projected(&selected.columns())?;
        selected.check(|condition| intervals.check_condition(condition))?;
        Ok(Rows {
            schema,
            from: RowsFrom::Intervals(Arc::new(intervals), selected),
        })
    }

    pub(crate) fn of_join(joined: JoinedRows) -> Self {
        Rows {
            schema: joined.schema().clone(),
            from: RowsFrom::Join(Arc::new(joined)),
        }
    }

    pub(crate) fn in_memory(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Rows {
            schema,
            from: RowsFrom::Memory(Arc::new(batches)),
        }
    }

    /// Whether they have a column.
    pub(crate) fn has(&self, column: &str) -> bool {
        self.schema.column_with_name(column).is_some()
    }
}

impl RowsFrom {
    fn open(&self) -> asof::Result<Batches> {
        Ok(match self {
            RowsFrom::Table(rows, selected) => {
                Box::new(rows.read_where(&selected.columns(), selected.condition())?)
            }
            RowsFrom::Intervals(intervals, selected) => {
                Box::new(intervals.read(&selected.columns(), selected.condition())?)
            }
            RowsFrom::Join(joined) => Box::new(joined.read()?),
            RowsFrom::Memory(batches) => {
                let batches = batches.clone();
                Box::new((0..batches.len()).map(move |at| Ok(batches[at].clone())))
            }
        })
    }
}

#[pymethods]
impl Rows {
    #[getter]
    fn columns(&self) -> Vec<&str> {
        names(&self.schema)
    }

    #[getter]
    fn snapshot_date<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match &self.from {
            RowsFrom::Table(rows, _) => py_date(py, rows.snapshot_date()).map(Some),
            _ => Ok(None),
        }
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &self.schema)
    }

    /// The consumer may ask for another schema; the interface lets a producer give its own.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let from = self.from.clone();
        let batches = call(py, move || from.open())?;
        stream_capsule(py, self.schema.clone(), batches)
    }

    fn collect(&self, py: Python<'_>) -> PyResult<Rows> {
        let from = self.from.clone();
        let batches = call(py, move || from.open()?.collect::<asof::Result<Vec<_>>>())?;
        Ok(Rows::in_memory(self.schema.clone(), batches))
    }

    fn to_polars<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let frame = py.import("polars")?.getattr("DataFrame")?;
        let rows = match &self.from {
            // polars stores text as views, and would copy any other.
            RowsFrom::Table(rows, selected) if selected.condition.is_none() => {
                let (rows, selected) = (rows.clone(), selected.clone());
                let read = move || {
                    let (schema, batches) = rows.read_views(&selected.columns())?;
                    Ok((schema, batches.collect::<asof::Result<_>>()?))
                };
                let (schema, batches) = call(py, read)?;
                Rows::in_memory(schema, batches)
            }
            _ => self.collect(py)?,
        };
        frame.call1((rows,))
    }

    fn to_pandas<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let frame = py.import("pandas")?.getattr("DataFrame")?;
        frame.call_method1("from_arrow", (self.collect(py)?,))
    }

    fn to_arrow<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let pyarrow = py.import("pyarrow")?;
        pyarrow.call_method1("table", (self.collect(py)?,))
    }

    fn __iter__(&self, py: Python<'_>) -> PyResult<Pieces> {
        let from = self.from.clone();
        let batches = call(py, move || from.open())?;
        Ok(Pieces {
            schema: self.schema.clone(),
            batches: Mutex::new(batches),
        })
    }

    fn __repr__(&self) -> String {
        let columns = names(&self.schema).join(", ");
        match &self.from {
            RowsFrom::Table(rows, _) => {
                format!("<asof.Rows as of {}: {columns}>", rows.snapshot_date())
            }
            _ => format!("<asof.Rows: {columns}>"),
        }
    }
}

/// A frame as it crossed, for the tests of the bridge.
#[pyfunction]
pub(crate) fn held(py: Python<'_>, frame: &Bound<'_, PyAny>) -> PyResult<Rows> {
    let frame = FrameReader::open(frame)?;
    let schema = frame.schema().clone();
    let batches = call(py, move || frame.collect::<asof::Result<Vec<_>>>())?;
    Ok(Rows::in_memory(schema, batches))
}

/// Rows in pieces, each in memory.
#[pyclass(frozen, module = "asof")]
pub(crate) struct Pieces {
    schema: SchemaRef,
    batches: Mutex<Batches>,
}

#[pymethods]
impl Pieces {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Rows>> {
        py.check_signals()?;
        let read = py.detach(|| -> asof::Result<Vec<RecordBatch>> {
            let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
            let (mut piece, mut rows) = (Vec::new(), 0);
            while rows < PIECE_ROWS
                && let Some(batch) = batches.next()
            {
                let batch = batch?;
                rows += batch.num_rows();
                piece.push(batch);
            }
            Ok(piece)
        });
        let piece = read.map_err(|error| raised(py, &error))?;
        let rows = (!piece.is_empty()).then(|| Rows::in_memory(self.schema.clone(), piece));
        Ok(rows)
    }
}

/// What differs between a table as of two dates.
#[pyclass(frozen, module = "asof")]
pub(crate) struct Diff(Arc<asof::TableDiff>);

impl Diff {
    pub(crate) fn new(diff: asof::TableDiff) -> Self {
        Diff(Arc::new(diff))
    }

    fn rows(&self) -> Rows {
        Rows::in_memory(self.0.schema().clone(), self.0.batches().to_vec())
    }
}

#[pymethods]
impl Diff {
    #[getter]
    fn added(&self) -> u64 {
        self.0.added()
    }

    #[getter]
    fn removed(&self) -> u64 {
        self.0.removed()
    }

    #[getter]
    fn changed(&self) -> u64 {
        self.0.changed()
    }

    #[getter]
    fn changed_columns<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = PyDict::new(py);
        for (name, rows) in self.0.changed_columns() {
            counts.set_item(name, rows)?;
        }
        Ok(counts)
    }

    #[getter]
    fn snapshot_dates<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let (from, to) = self.0.snapshot_dates();
        Ok((py_date(py, from)?, py_date(py, to)?))
    }

    #[getter]
    fn columns(&self) -> Vec<&str> {
        names(self.0.schema())
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, self.0.schema())
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        self.rows().__arrow_c_stream__(py, requested_schema)
    }

    fn to_polars<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.rows().to_polars(py)
    }

    fn to_pandas<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.rows().to_pandas(py)
    }

    fn to_arrow<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.rows().to_arrow(py)
    }

    fn __len__(&self) -> usize {
        self.0.batches().iter().map(RecordBatch::num_rows).sum()
    }

    fn __repr__(&self) -> String {
        let (from, to) = self.0.snapshot_dates();
        let (added, changed, removed) = (self.0.added(), self.0.changed(), self.0.removed());
        format!(
            "<asof.Diff {from} to {to}: +{added} added, ~{changed} changed, -{removed} removed>"
        )
    }
}

fn names(schema: &Schema) -> Vec<&str> {
    let fields = schema.fields().iter();
    fields.map(|field| field.name().as_str()).collect()
}
