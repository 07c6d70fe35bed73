//! Text that is set aside until the types of its columns are known, and looked at on its way.
//!
//! A column's type depends on its values in their order and on no other column. So if nothing else
//! is read meanwhile, columns are looked at by threads, each of which has some of them, while the
//! next rows are taken apart.
//!
//! Memory: a batch, and as many as [`WAITING`] that wait for each thread. A batch has [`BATCH_ROWS`]
//! rows, or fewer if they have [`BATCH_BYTES`] together.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringBuilder};
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::SPILL;
use crate::error::{Context, Error, Result};
use crate::parallel::processors;
use crate::source::TypeRules;
use crate::source::dialect::Form;
use crate::source::type_inference::{Guess, ValuePlace};
use crate::storage::parquet::object::BATCH_ROWS;

/// How many batches may wait to be looked at.
const WAITING: usize = 4;

/// How many bytes the rows of a batch have, beside the last one.
const BATCH_BYTES: usize = 32 << 20;
/// What a value takes beside its text.
const VALUE_BYTES: usize = size_of::<i32>();

/// Text on its way to the temporary file.
pub(super) struct TextAside {
    pub(super) schema: SchemaRef,
    builders: Vec<StringBuilder>,
    places: Vec<ValuePlace>,
    /// How many bytes the rows have.
    bytes: usize,
    watch: TypeWatch,
    writer: StreamWriter<BufWriter<File>>,
}

impl TextAside {
    pub(super) fn new(schema: SchemaRef, rules: &TypeRules, form: &Form) -> Result<Self> {
        let file = tempfile::tempfile().temporary_context(|| SPILL.into())?;
        let writer = StreamWriter::try_new(BufWriter::with_capacity(1 << 20, file), &schema)
            .temporary_context(|| SPILL.into())?;
        let fields = schema.fields().iter();
        let pins = rules.pins();
        let guesses = fields
            .clone()
            .map(|field| Guess::of(field.name(), rules, &pins).in_notation(&form.notation))
            .collect();
        Ok(TextAside {
            // Without room at first: there may be many thousands.
            builders: fields.map(|_| StringBuilder::with_capacity(0, 0)).collect(),
            places: Vec::with_capacity(BATCH_ROWS),
            bytes: 0,
            watch: TypeWatch::new(guesses, rules.is_alone)?,
            schema,
            writer,
        })
    }

    /// Appends a value to the row that was begun.
    pub(super) fn append(&mut self, column: usize, text: Option<&str>) {
        self.bytes += VALUE_BYTES + text.map_or(0, str::len);
        self.builders[column].append_option(text);
    }

    /// Ends a row that stands at a place, and has a value for every column.
    pub(super) fn end_row(&mut self, place: ValuePlace) -> Result<()> {
        self.places.push(place);
        if self.places.len() == BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.bytes = 0;
        let columns = self.builders.iter_mut();
        let columns = columns.map(|builder| Arc::new(builder.finish()) as ArrayRef);
        let rows = RecordBatch::try_new(self.schema.clone(), columns.collect())
            .temporary_context(|| SPILL.into())?;
        let places = std::mem::replace(&mut self.places, Vec::with_capacity(BATCH_ROWS));
        self.watch.see(Placed {
            rows: rows.clone(),
            places,
        })?;
        self.writer.write(&rows).temporary_context(|| SPILL.into())
    }

    /// The text, and what its columns have shown.
    pub(super) fn into_reader(mut self) -> Result<(StreamReader<BufReader<File>>, Vec<Guess>)> {
        if !self.places.is_empty() {
            self.flush()?;
        }
        self.writer.finish().temporary_context(|| SPILL.into())?;
        let file = self
            .writer
            .into_inner()
            .temporary_context(|| SPILL.into())?
            .into_inner();
        let mut file = file
            .map_err(|error| error.into_error())
            .temporary_context(|| SPILL.into())?;
        file.rewind().temporary_context(|| SPILL.into())?;
        let reader = StreamReader::try_new(BufReader::with_capacity(1 << 20, file), None)
            .temporary_context(|| SPILL.into())?;
        Ok((reader, self.watch.end()?))
    }
}

/// Rows of text, and where each stands.
struct Placed {
    rows: RecordBatch,
    places: Vec<ValuePlace>,
}

/// Some columns, by number, and what their values have shown.
type Columns = Vec<(usize, Guess)>;

/// Looks at values: here, or on threads that have some columns each.
enum TypeWatch {
    Here(Columns),
    Threads(Vec<(SyncSender<Arc<Placed>>, JoinHandle<Columns>)>),
}

impl TypeWatch {
    fn new(guesses: Vec<Guess>, on_threads: bool) -> Result<Self> {
        let columns: Columns = guesses.into_iter().enumerate().collect();
        let threads = processors().min(columns.len());
        if !on_threads || threads < 2 {
            return Ok(TypeWatch::Here(columns));
        }
        let mut shares: Vec<Columns> = vec![Vec::new(); threads];
        for (column, guess) in columns {
            shares[column % threads].push((column, guess));
        }
        let start = |mut columns: Columns| {
            let (sender, placed) = sync_channel::<Arc<Placed>>(WAITING);
            let thread = std::thread::Builder::new().name("infer".to_owned());
            let thread = thread.spawn(move || {
                placed.iter().for_each(|rows| see(&mut columns, &rows));
                columns
            });
            let failed = |error| Error::io(format!("cannot start a thread: {error}"));
            Ok((sender, thread.map_err(failed)?))
        };
        let threads = shares.into_iter().map(start);
        Ok(TypeWatch::Threads(threads.collect::<Result<_>>()?))
    }

    fn see(&mut self, rows: Placed) -> Result<()> {
        match self {
            TypeWatch::Here(columns) => see(columns, &rows),
            TypeWatch::Threads(threads) => {
                let rows = Arc::new(rows);
                for (sender, _) in threads {
                    sender.send(rows.clone()).map_err(|_| panicked())?;
                }
            }
        }
        Ok(())
    }

    /// What each column has shown.
    fn end(self) -> Result<Vec<Guess>> {
        let mut columns = match self {
            TypeWatch::Here(columns) => columns,
            TypeWatch::Threads(threads) => {
                let mut all = Vec::new();
                for (sender, thread) in threads {
                    drop(sender);
                    all.extend(thread.join().map_err(|_| panicked())?);
                }
                all
            }
        };
        columns.sort_by_key(|(column, _)| *column);
        Ok(columns.into_iter().map(|(_, guess)| guess).collect())
    }
}

fn panicked() -> Error {
    Error::internal("a thread of asof panicked")
}

fn see(columns: &mut Columns, placed: &Placed) {
    for (column, guess) in columns {
        let texts = placed.rows.column(*column).as_string::<i32>();
        for (row, place) in placed.places.iter().enumerate() {
            if texts.is_valid(row) {
                guess.see(texts.value(row), *place);
            }
        }
    }
}
