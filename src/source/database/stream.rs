//! Rows that a thread reads from a database while another consumes them.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{DatabaseRelation, RelationOptions};
use crate::domain::canonical_batch::to_canonical;
use crate::domain::canonical_types::canonical_schema;
use crate::domain::cast::conform;
use crate::error::{Context, Error, Result};
use crate::source::parts::{declared_schema, refused_row};
use crate::source::{SourceRows, TypeRules};
use crate::storage::parquet::BATCH_ROWS;

/// How many batches wait to be consumed.
const WAITING: usize = 2;
/// The size at which a batch is handed on, however few rows it has.
const BATCH_BYTES: usize = 4 << 20;

/// How full the batch is that is being filled.
#[derive(Default)]
pub(super) struct Fill {
    /// The rows of the batches before.
    before: u64,
    rows: usize,
    bytes: usize,
}

impl Fill {
    /// Whether the batch is to be handed on.
    pub(super) fn is_due(&self, is_last: bool) -> bool {
        self.rows > 0 && (is_last || self.rows == BATCH_ROWS || self.bytes >= BATCH_BYTES)
    }

    /// The number of a row of the batch among all rows, which counts from one.
    pub(super) fn number_of(&self, row: usize) -> u64 {
        self.before + row as u64 + 1
    }

    /// The number of the row that is being read.
    pub(super) fn number(&self) -> u64 {
        self.number_of(self.rows)
    }

    /// Counts the row that was read.
    pub(super) fn add_row(&mut self, bytes: usize) {
        self.rows += 1;
        self.bytes += bytes;
    }

    /// Begins another batch.
    pub(super) fn begin_batch(&mut self) {
        self.before += self.rows as u64;
        (self.rows, self.bytes) = (0, 0);
    }
}

/// What is asked of a database.
pub(super) struct Asked {
    pub(super) relation: DatabaseRelation,
    pub(super) options: RelationOptions,
    pub(super) rules: TypeRules,
}

/// What a reading thread sends: the columns, once, and then their rows.
enum ThreadMessage {
    Columns(SchemaRef),
    Batch(RecordBatch),
}

/// Where a reading thread sends what it reads.
pub(super) struct RowSink {
    sender: SyncSender<ThreadMessage>,
}

/// Nobody wants more rows, so reading ends.
pub(super) struct Unwanted;

/// Why a thread ends before the last row.
pub(super) enum Ended {
    Unwanted,
    Failed(Error),
}

impl From<Unwanted> for Ended {
    fn from(_: Unwanted) -> Self {
        Ended::Unwanted
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Ended::Failed(error)
    }
}

impl RowSink {
    /// Tells what columns the rows have.
    pub(super) fn columns(&self, schema: SchemaRef) -> Result<(), Unwanted> {
        self.send(ThreadMessage::Columns(schema))
    }

    /// Hands rows on, and waits if many wait already.
    pub(super) fn rows(&self, batch: RecordBatch) -> Result<(), Unwanted> {
        self.send(ThreadMessage::Batch(batch))
    }

    fn send(&self, message: ThreadMessage) -> Result<(), Unwanted> {
        self.sender.send(message).map_err(|_| Unwanted)
    }
}

/// Reads on a thread of its own. Returns once the columns are known.
///
/// # Errors
/// What `work` fails with before it tells the columns. Later failures are items of the rows.
pub(super) fn on_a_thread(
    work: impl FnOnce(&RowSink) -> Result<(), Ended> + Send + 'static,
) -> Result<SourceRows> {
    let (sender, messages) = sync_channel(WAITING);
    let thread = std::thread::Builder::new()
        .name("asof-database".to_owned())
        .spawn(move || match work(&RowSink { sender }) {
            Ok(()) | Err(Ended::Unwanted) => Ok(()),
            Err(Ended::Failed(error)) => Err(error),
        })
        .io_context(|| "no thread for the database can be started".into())?;
    let mut arriving = Arriving {
        messages,
        thread: Some(thread),
    };
    match arriving.message()? {
        Some(ThreadMessage::Columns(schema)) => Ok(SourceRows {
            schema,
            batches: Box::new(arriving),
            count: None,
        }),
        _ => Err(Error::internal("a database told no columns")),
    }
}

/// The same for work that waits for a server.
///
/// # Errors
/// As [`on_a_thread`].
pub(super) fn on_a_runtime(
    work: impl AsyncFnOnce(&RowSink) -> Result<(), Ended> + Send + 'static,
) -> Result<SourceRows> {
    on_a_thread(move |sink| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .io_context(|| "no connection can be waited for".into())?;
        let ended = runtime.block_on(work(sink));
        // A name that is still looked up is not waited for.
        runtime.shutdown_background();
        ended
    })
}

/// The rows that a thread reads.
struct Arriving {
    messages: Receiver<ThreadMessage>,
    /// Nothing once it has ended.
    thread: Option<JoinHandle<Result<()>>>,
}

impl Arriving {
    /// The next message; `None` after the last.
    fn message(&mut self) -> Result<Option<ThreadMessage>> {
        if let Ok(message) = self.messages.recv() {
            return Ok(Some(message));
        }
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(None),
            Some(Ok(ended)) => ended.map(|()| None),
            Some(Err(_)) => Err(Error::internal("reading a database panicked")),
        }
    }
}

impl Iterator for Arriving {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.message().transpose()? {
            Ok(ThreadMessage::Batch(batch)) => Some(Ok(batch)),
            Ok(ThreadMessage::Columns(_)) => {
                Some(Err(Error::internal("a database told its columns twice")))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

/// The rows in the types that are declared, each value converted exactly.
///
/// # Errors
/// A usage error for a declared column that is not there; a refusal of two columns of one name.
pub(super) fn as_declared(rows: SourceRows, rules: &TypeRules, name: &str) -> Result<SourceRows> {
    let name = format!("'{name}'");
    let read = canonical_schema(&rows.schema, &name)?;
    let schema = declared_schema(&read, rules);
    rules.check(&schema, &name)?;
    let target = schema.clone();
    let mut before = 0;
    let batches = rows.batches.map(move |batch| {
        let within = |error: Error| error.within(&name);
        let batch = to_canonical(&batch.map_err(within)?, &read).map_err(within)?;
        let conformed = conform(&batch, &target).map_err(|error| {
            refused_row(&batch, &target, before, &name).unwrap_or_else(|| error.within(&name))
        });
        before += batch.num_rows();
        conformed
    });
    Ok(SourceRows {
        schema,
        batches: Box::new(batches),
        count: rows.count,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;

    fn batch(values: Vec<i64>) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(values)) as _)]).expect("rows")
    }

    #[test]
    fn a_failure_comes_after_the_rows_before_it() {
        let rows = on_a_thread(|sink| {
            sink.columns(batch(vec![]).schema())?;
            sink.rows(batch(vec![1]))?;
            Err(Error::io("the connection broke").into())
        });
        let mut batches = rows.expect("columns").batches;
        assert_eq!(batches.next().map(|batch| batch.is_ok()), Some(true));
        let error = batches.next().and_then(Result::err).expect("a failure");
        assert_eq!(error.to_string(), "the connection broke");
        assert!(batches.next().is_none());
    }

    #[test]
    fn a_thread_that_panics_is_no_end_of_the_rows() {
        let rows = on_a_thread(|sink| {
            sink.columns(batch(vec![]).schema())?;
            std::panic::resume_unwind(Box::new("a bug"))
        });
        let error = rows.expect("columns").batches.next();
        assert!(error.is_some_and(|batch| batch.is_err()));
    }

    #[test]
    fn a_thread_ends_when_nobody_wants_its_rows() {
        let (done, ended) = sync_channel(1);
        let rows = on_a_thread(move |sink| {
            sink.columns(batch(vec![]).schema())?;
            let ended = loop {
                if let Err(unwanted) = sink.rows(batch(vec![1])) {
                    break unwanted;
                }
            };
            done.send(()).expect("somebody waits");
            Err(ended.into())
        });
        drop(rows.expect("columns"));
        assert_eq!(ended.recv(), Ok(()));
    }
}
