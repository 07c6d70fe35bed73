//! Rows that cross between Rust and Python by the
//! [Arrow PyCapsule interface](https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html),
//! without a copy. This file holds the only `unsafe` code of the module.
//!
//! # Why this is sound
//!
//! *Out.* No `unsafe` is needed: arrow-rs makes the structs, and a capsule owns each as a value.
//! Its destructor drops the struct, which releases what it holds unless a consumer moved it out.
//!
//! *In.* A capsule gives a pointer without a type, so somebody has to vouch for what is there:
//!
//! 1. *It is the struct that its name says.* The interface reserves the names `arrow_schema`,
//!    `arrow_array` and `arrow_array_stream` for pointers to the structs of the C Data Interface.
//!    The name is compared before the pointer is used, and the capsule comes from a method that the
//!    interface defines. Whoever gives another pointer under such a name breaks the interface, as
//!    with every consumer of it.
//! 2. *It is valid and ours alone.* The capsule is held, so its destructor has not run. The
//!    interpreter is attached while the struct is taken, so no other Python code uses the capsule
//!    meanwhile. The struct of a stream or an array is moved out, and leaves a released one behind,
//!    which the destructor and any later consumer find released. A schema is only borrowed.
//! 3. *It holds what it says.* Like every consumer, arrow-rs trusts offsets and lengths of the
//!    producer. It copies buffers that are not aligned as it needs them. Where a known producer
//!    differs from the interface, [`FrameReader`] mends it before arrow-rs looks.
//! 4. *Threads.* A stream may be read on another thread than the one that made it: the interface
//!    asks for no particular one, and it is read by one thread at a time. Producers that need the
//!    interpreter attach to it by themselves, so it is never held while a stream is read.
//!
//! What is said of the libraries was read in arrow 59.3.2 and pyo3 0.29.3.

#![allow(
    unsafe_code,
    reason = "pointers of the C Data Interface are used; why that is sound stands above"
)]

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type};
use arrow::ffi_stream::FFI_ArrowArrayStream;
use arrow::record_batch::RecordBatchReader;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

const SCHEMA: &CStr = c"arrow_schema";
const ARRAY: &CStr = c"arrow_array";
const STREAM: &CStr = c"arrow_array_stream";

/// Batches of a schema.
pub(crate) type Batches = Box<dyn Iterator<Item = asof::Result<RecordBatch>> + Send>;

/// A capsule with a schema.
pub(crate) fn schema_capsule<'py>(
    py: Python<'py>,
    schema: &Schema,
) -> PyResult<Bound<'py, PyCapsule>> {
    let schema = FFI_ArrowSchema::try_from(schema);
    let schema = schema.map_err(|error| PyTypeError::new_err(error.to_string()))?;
    PyCapsule::new_with_value(py, schema, SCHEMA)
}

/// A capsule with a stream of batches, which are read as the consumer asks for them.
pub(crate) fn stream_capsule<'py>(
    py: Python<'py>,
    schema: SchemaRef,
    batches: Batches,
) -> PyResult<Bound<'py, PyCapsule>> {
    let reader = Exported {
        schema,
        batches: Some(batches),
    };
    PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(reader)), STREAM)
}

/// Batches for a consumer in another language, to whom no panic may come.
struct Exported {
    schema: SchemaRef,
    /// Nothing after the first error.
    batches: Option<Batches>,
}

impl Iterator for Exported {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batches = self.batches.as_mut()?;
        let next = catch_unwind(AssertUnwindSafe(|| batches.next()));
        let next = next.unwrap_or_else(|_| Some(Err(panicked())));
        let next = next.map(|batch| batch.map_err(|error| in_one_text(&error)));
        if !matches!(next, Some(Ok(_))) {
            self.batches = None;
        }
        next
    }
}

impl RecordBatchReader for Exported {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

fn panicked() -> asof::Error {
    asof::Error::internal("a thread of asof panicked")
}

/// An error with its hints, as a text of the C interface.
fn in_one_text(error: &asof::Error) -> ArrowError {
    let mut text = error.to_string();
    for hint in error.hints() {
        text += "\nhint: ";
        text += hint;
    }
    ArrowError::ExternalError(text.replace('\0', "\\0").into())
}

/// Rows of an object of Python.
pub(crate) struct FrameReader {
    schema: SchemaRef,
    rows: FrameRows,
}

enum FrameRows {
    Stream(FFI_ArrowArrayStream),
    One(Option<RecordBatch>),
}

impl FrameReader {
    /// Opens the rows of an object that has `__arrow_c_stream__` or `__arrow_c_array__`.
    ///
    /// # Errors
    /// A `TypeError` for any other object, and for one whose rows are not a table; what its method
    /// raises.
    pub(crate) fn open(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = object.py();
        if object.hasattr("__arrow_c_stream__")? {
            let capsule = object.call_method0("__arrow_c_stream__")?;
            let stream = take_stream(capsule.cast::<PyCapsule>()?)?;
            return py
                .detach(|| FrameReader::of_stream(stream))
                .map_err(not_a_table);
        }
        if object.hasattr("__arrow_c_array__")? {
            let pair = object.call_method0("__arrow_c_array__")?;
            let pair = pair.cast::<PyTuple>()?;
            let schema = read_schema(pair.get_item(0)?.cast::<PyCapsule>()?)?;
            let array = take_array(pair.get_item(1)?.cast::<PyCapsule>()?)?;
            let schema = Arc::new(schema);
            let batch = import(array, &schema).map_err(not_a_table)?;
            return Ok(FrameReader {
                schema,
                rows: FrameRows::One(Some(batch)),
            });
        }
        let kind = object.get_type().name()?;
        Err(PyTypeError::new_err(format!(
            "a frame has __arrow_c_stream__ or __arrow_c_array__, as those of polars, pandas, \
             pyarrow and DuckDB do; {kind} has neither"
        )))
    }

    fn of_stream(mut stream: FFI_ArrowArrayStream) -> Result<Self, ArrowError> {
        let mut schema = FFI_ArrowSchema::empty();
        let get_schema = stream.get_schema.ok_or_else(released)?;
        // SAFETY: the stream is valid and not released (2), and `schema` is an empty struct that
        // its callback fills in.
        let code = unsafe { get_schema(&raw mut stream, &raw mut schema) };
        if code != 0 {
            return Err(last_error(&mut stream, code));
        }
        Ok(FrameReader {
            schema: Arc::new(table_schema(&schema)?),
            rows: FrameRows::Stream(stream),
        })
    }

    /// The columns, in the types of the object's library.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        match &mut self.rows {
            FrameRows::One(batch) => Ok(batch.take()),
            FrameRows::Stream(stream) => {
                let mut array = FFI_ArrowArray::empty();
                let get_next = stream.get_next.ok_or_else(released)?;
                // SAFETY: the stream is valid and not released (2), nobody else reads it (4), and
                // `array` is an empty struct that its callback fills in.
                let code = unsafe { get_next(&raw mut *stream, &raw mut array) };
                if code != 0 {
                    return Err(last_error(stream, code));
                }
                match array.is_released() {
                    true => Ok(None),
                    false => import(array, &self.schema).map(Some),
                }
            }
        }
    }
}

impl Iterator for FrameReader {
    type Item = asof::Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_batch().transpose()?;
        Some(next.map_err(|error| asof::Error::usage(format!("cannot read the frame: {error}"))))
    }
}

fn released() -> ArrowError {
    ArrowError::CDataInterface("its stream was read before, and can be read only once".to_owned())
}

fn not_a_table(error: ArrowError) -> PyErr {
    PyTypeError::new_err(format!("the frame is not a table: {error}"))
}

/// What a stream says of its last failure.
fn last_error(stream: &mut FFI_ArrowArrayStream, code: i32) -> ArrowError {
    let get = stream.get_last_error;
    // SAFETY: the stream is valid and not released (2).
    let text = get.map(|get| unsafe { get(&raw mut *stream) });
    let text = text.filter(|text| !text.is_null()).map(|text| {
        // SAFETY: the interface promises a text that ends with a zero byte, and that stays until
        // the stream is used again.
        unsafe { CStr::from_ptr(text) }
            .to_string_lossy()
            .into_owned()
    });
    let text = text.unwrap_or_else(|| format!("error {code} of the library that made it"));
    ArrowError::CDataInterface(text)
}

/// The columns of a table, which is a struct in the interface.
fn table_schema(schema: &FFI_ArrowSchema) -> Result<Schema, ArrowError> {
    match DataType::try_from(schema)? {
        DataType::Struct(fields) => {
            // Whether a column has nulls, its values tell.
            let nullable = |field: &Arc<Field>| Field::clone(field).with_nullable(true);
            Ok(Schema::new(fields.iter().map(nullable).collect::<Fields>()))
        }
        other => Err(ArrowError::CDataInterface(format!(
            "its rows are {other}, and not columns"
        ))),
    }
}

fn read_schema(capsule: &Bound<'_, PyCapsule>) -> PyResult<Schema> {
    let schema = capsule
        .pointer_checked(Some(SCHEMA))?
        .cast::<FFI_ArrowSchema>();
    // SAFETY: the name says that it is a schema (1), which is borrowed while the capsule is (2).
    let schema = unsafe { schema.as_ref() };
    table_schema(schema).map_err(not_a_table)
}

fn take_array(capsule: &Bound<'_, PyCapsule>) -> PyResult<FFI_ArrowArray> {
    let array = capsule
        .pointer_checked(Some(ARRAY))?
        .cast::<FFI_ArrowArray>();
    // SAFETY: the name says that it is an array (1), which is moved out of its capsule (2).
    let array = unsafe { FFI_ArrowArray::from_raw(array.as_ptr()) };
    match array.is_released() {
        true => Err(not_a_table(released())),
        false => Ok(array),
    }
}

fn take_stream(capsule: &Bound<'_, PyCapsule>) -> PyResult<FFI_ArrowArrayStream> {
    let stream = capsule
        .pointer_checked(Some(STREAM))?
        .cast::<FFI_ArrowArrayStream>();
    // SAFETY: the name says that it is a stream (1), which is moved out of its capsule (2).
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(stream.as_ptr()) };
    match stream.release {
        None => Err(not_a_table(released())),
        Some(_) => Ok(stream),
    }
}

/// A batch of the columns of a schema.
fn import(mut array: FFI_ArrowArray, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let fields = schema.fields();
    if array.num_children() != fields.len() {
        return Err(ArrowError::CDataInterface(format!(
            "it has {} columns, and its schema {}",
            array.num_children(),
            fields.len()
        )));
    }
    without_null_buffers(&mut array, fields)?;
    let of_rows = DataType::Struct(fields.clone());
    // SAFETY: the producer made the array for the schema that it gave with it (1), (3); the number
    // of children was compared here and in `without_null_buffers`.
    let data = unsafe { from_ffi_and_data_type(array, of_rows)? };
    let rows = data.len();
    let columns: Vec<ArrayRef> = StructArray::from(data).into_parts().1;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

/// Takes the buffer away that polars gives columns without values: the interface has none there,
/// and arrow-rs refuses it. It is a null pointer, and no release callback looks at the number.
fn without_null_buffers(array: &mut FFI_ArrowArray, fields: &Fields) -> Result<(), ArrowError> {
    for (at, field) in fields.iter().enumerate() {
        mend(child(array, at)?, field.data_type())?;
    }
    Ok(())
}

fn mend(array: &mut FFI_ArrowArray, data_type: &DataType) -> Result<(), ArrowError> {
    match data_type {
        DataType::Null => {
            array.n_buffers = 0;
            Ok(())
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => mend(child(array, 0)?, item.data_type()),
        DataType::Struct(fields) => without_null_buffers(array, fields),
        _ => Ok(()),
    }
}

fn child(array: &mut FFI_ArrowArray, at: usize) -> Result<&mut FFI_ArrowArray, ArrowError> {
    if at >= array.num_children() || array.children.is_null() {
        return Err(ArrowError::CDataInterface(
            "a column lacks a part of its type".to_owned(),
        ));
    }
    // SAFETY: `children` points to that many pointers to structs, which `array` owns until it is
    // released. It is borrowed mutably, so nobody else looks at them.
    Ok(unsafe { &mut **array.children.add(at) })
}
