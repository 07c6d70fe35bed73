//! Text that is set aside until the types of its columns are known, and looked at on its way.
//!
//! A column's type depends on its values in their order and on no other column. So if nothing else
//! is read meanwhile, columns are looked at by threads, each of which has some of them, while the
//! next rows are taken apart.
//!
//! Memory: a batch, and as many as [`WAITING`] that wait for each thread.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use super::SPILL;
use crate::error::{Error, Result};
use crate::parallel::processors;
use crate::source::TypeRules;
use crate::source::dialect::Form;
use crate::source::type_inference::{Guess, ValuePlace};
use crate::storage::Batches;
use crate::storage::temporary_rows::TemporaryRows;

/// How many batches may wait to be looked at.
const WAITING: usize = 4;

/// Text on its way to the temporary file.
pub(super) struct TextAside {
    pub(super) schema: SchemaRef,
    watch: TypeWatch,
    rows: TemporaryRows,
}

/// What is known of columns of text before their values are seen.
pub(super) fn guesses_of(schema: &Schema, rules: &TypeRules, form: &Form) -> Vec<Guess> {
    let pins = rules.pins();
    let fields = schema.fields().iter();
    let guess =
        |field: &FieldRef| Guess::of(field.name(), rules, &pins).in_notation(&form.notation);
    fields.map(guess).collect()
}

impl TextAside {
    pub(super) fn new(schema: SchemaRef, rules: &TypeRules, form: &Form) -> Result<Self> {
        Ok(TextAside {
            watch: TypeWatch::new(guesses_of(&schema, rules, form), rules.is_alone)?,
            rows: TemporaryRows::new(&schema, SPILL)?,
            schema,
        })
    }

    /// Takes the rows that come next.
    pub(super) fn take(&mut self, placed: Placed) -> Result<()> {
        let rows = placed.rows.clone();
        self.watch.see(placed)?;
        self.rows.write(&rows)
    }

    /// The text, and what its columns have shown.
    pub(super) fn into_rows(self) -> Result<(Batches, Vec<Guess>)> {
        let rows = self
            .rows
            .finish()?
            .read(1 << 20, "cannot read rows that were set aside")?;
        Ok((rows, self.watch.end()?))
    }
}

/// Rows of text, and where each stands.
pub(super) struct Placed {
    pub(super) rows: RecordBatch,
    pub(super) places: Vec<ValuePlace>,
}

impl Placed {
    /// Lets a guess look at the values of a column.
    pub(super) fn show(&self, column: usize, guess: &mut Guess) {
        let texts = self.rows.column(column).as_string::<i32>();
        for (row, place) in self.places.iter().enumerate() {
            if texts.is_valid(row) {
                guess.see(texts.value(row), *place);
            }
        }
    }
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
        placed.show(*column, guess);
    }
}
