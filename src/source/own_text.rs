//! Text that keeps no more in memory than it is.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringBuilder};

use crate::error::{Context, Result};

/// The batch with text of its own, and no room for more. Text that was set aside is a part of a
/// buffer that has the text of all columns, and would keep all of it in memory. Text that was put
/// together value by value has room for up to as much again.
pub(super) fn own_text(batch: &RecordBatch) -> Result<RecordBatch> {
    let doing = || "cannot copy text".to_owned();
    let columns = batch.columns().iter().map(|column| {
        let Some(texts) = column.as_string_opt::<i32>() else {
            return Ok(column.clone());
        };
        let mut own = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
        own.append_array(texts).internal_context(doing)?;
        Ok(Arc::new(own.finish()) as ArrayRef)
    });
    RecordBatch::try_new(batch.schema(), columns.collect::<Result<_>>()?).internal_context(doing)
}
