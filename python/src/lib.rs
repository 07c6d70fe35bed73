//! `asof._asof`: what the Python module `asof` is made of. It is a thin layer over the crate's
//! library, and documented in `asof/__init__.pyi`.
//!
//! Rows cross as Arrow data, without a copy (`capsule`). Calls run without the interpreter
//! (`calls`), and their errors are exceptions (`errors`).

mod arguments;
mod calls;
mod capsule;
mod errors;
mod lake;
mod rows;

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the program on arguments, the first of which is its own name, and returns its exit code.
#[pyfunction]
fn program(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| asof::cli::program(arguments))
}

#[pymodule]
mod _asof {
    #[pymodule_export]
    use crate::lake::{Lake, Table, join, open};
    #[pymodule_export]
    use crate::program;
    #[pymodule_export]
    use crate::rows::{Diff, Rows, held};

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
