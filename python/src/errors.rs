//! Errors of asof as exceptions of Python: one class for each kind, in `asof/_errors.py`.

use pyo3::prelude::*;
use pyo3::types::PyType;

/// The exception for an error.
pub(crate) fn raised(py: Python<'_>, error: &asof::Error) -> PyErr {
    let exception = || -> PyResult<PyErr> {
        let classes = py.import("asof._errors")?.getattr("BY_KIND")?;
        let class = classes.get_item(error.kind().name())?;
        let hints: Vec<&str> = error.hints().iter().map(String::as_str).collect();
        let exception = class.cast::<PyType>()?.call1((error.to_string(), hints))?;
        Ok(PyErr::from_value(exception))
    };
    exception().unwrap_or_else(|failed| failed)
}
