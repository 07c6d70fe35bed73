use pyo3::prelude::*;
#[pymodule]
fn _asof(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
