//! The as-of join of events that the calling program holds, such as a data frame: each event joined
//! to the table as of its own date.
//!
//! **Who reads what.** The date column is looked through first, in memory: its dates say which
//! copies serve. Then the build side is made as [`join`](super::join) makes it. The events are not
//! copied: their columns are handed on as they are, in their own types and order. Only the columns
//! that are joined on are brought into canonical types.
//!
//! **What is held.** The events as long as the join is, the build side, which must fit half of the
//! memory that may be used, and of each processor a few pieces of the output.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use arrow::array::{Array, ArrayRef, Date32Array, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, max, min};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef};
use chrono::NaiveDate;

use super::dated_join::DatedJoin;
use crate::commands::Workspace;
use crate::commands::backfill::{BackfillOptions, View, history};
use crate::commands::lookup::latest_states;
use crate::config::zone;
use crate::domain::canonical_types::canonical;
use crate::domain::cast::cast_exactly;
use crate::domain::missing_column::missing_column;
use crate::domain::staleness::StateFilter;
use crate::domain::type_names::type_name;
use crate::engine::as_of::RowSource;
use crate::engine::dated::{DateColumn, NamedBy};
use crate::engine::join::{JoinColumns, JoinSpec, JoinTable, JoinTableOn};
use crate::error::{Context, Error, Result};
use crate::model::{DateRange, DaySpan, TableName};
use crate::parallel::processors;

/// What messages call the events.
const PLACE: &str = "the events";
/// How many events a thread joins at a time.
const PIECE_ROWS: usize = 65_536;
/// How many pieces of each thread wait for whoever takes them.
const WAITING: usize = 2;

/// Events that the calling program holds.
pub(crate) struct GivenEvents {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
}

/// How events are joined.
#[derive(Clone, Debug)]
pub(crate) struct GivenJoinOptions {
    pub(crate) spec: JoinSpec,
    /// The events' column that has the date of each.
    pub(crate) date: String,
    /// The format of its text; by default `YYYY-MM-DD`.
    pub(crate) date_format: Option<String>,
    /// The zone in which the day of an instant lies; by default that of asof.toml.
    pub(crate) timezone: Option<String>,
    pub(crate) lag: Option<DaySpan>,
    pub(crate) tolerance: Option<DaySpan>,
    pub(crate) using: RowSource,
}

/// Events and the build side that they are joined to. They are joined as often as they are read.
pub(crate) struct GivenJoin {
    spec: Arc<JoinSpec>,
    table: Arc<JoinTable>,
    /// The columns of the output.
    schema: SchemaRef,
    /// The events, with the date of the copy that serves each as the last column.
    events: Arc<Vec<RecordBatch>>,
}

impl GivenJoin {
    /// Plans a join, and makes its build side.
    ///
    /// # Errors
    /// A usage error for a table, column, condition or type that is wrong; a refusal of events
    /// without a date, of a date that no copy serves, and of a table that is too large to be held.
    pub(crate) fn new(
        workspace: &Workspace<'_>,
        table: &str,
        events: GivenEvents,
        options: &GivenJoinOptions,
    ) -> Result<Self> {
        let name = workspace.known(table)?;
        let column = options.date_column(workspace)?;
        let days = event_days(&events, &column)?;
        let dates = distinct_dates(&days, &column)?;
        let events = with_canonical_keys(events, &options.spec)?;
        let (Some(first), Some(last)) = (dates.first(), dates.last()) else {
            return GivenJoin::of_no_events(workspace, &name, &events, options);
        };
        let range = DateRange::new(*first, *last)?;
        let history = history(workspace, &name, &[View::AsOf], &options.as_backfill(range))?;
        let spec = options.spec.clone();
        spec.check_key(&name, &history.table.key)?;
        let count = dates.len();
        let dated = DatedJoin::new(spec, history, dates, |first| {
            format!("leave out the events before {first}")
        })
        .map_err(in_arguments)?;
        let needs = dated.needs()?;
        let columns = Arc::new(dated.columns(&needs)?);
        let schema = output_schema(&columns, &dated.spec, &events.schema, &name)?;
        let built = dated.build(workspace, &needs, &columns)?;
        let built = built.ok_or_else(|| {
            let what = format!(
                "table {name}: its versions on {count} dates need more than half of the memory"
            );
            Error::refused(what)
                .hint("open the lake with more memory")
                .hint("join the events of fewer dates at a time")
        })?;
        let served = dated.served_days();
        let add = |(batch, days): (&RecordBatch, Date32Array)| {
            let observed = days.unary::<_, Date32Type>(|day| served.of(day).unwrap_or(day));
            with_dates(batch, observed)
        };
        let batches = events.batches.iter().zip(days).map(add);
        Ok(GivenJoin {
            spec: Arc::new(dated.spec.clone()),
            table: Arc::new(built),
            schema,
            events: Arc::new(batches.collect::<Result<_>>()?),
        })
    }

    /// The join of no events: the columns are those that the table has now.
    fn of_no_events(
        workspace: &Workspace<'_>,
        name: &TableName,
        events: &GivenEvents,
        options: &GivenJoinOptions,
    ) -> Result<Self> {
        let today = workspace.clock.today();
        let history = latest_states(workspace, name.as_str(), &[today])?;
        let observed = history.resolve_latest(today, |first| {
            format!("the first snapshot of {name} is that of {first}")
        })?;
        let table = history.latest(observed, None)?;
        let key = &history.table.key;
        options.spec.check_key(name, key)?;
        let columns = JoinColumns::of(&options.spec, name, key, &table.schema)?;
        let schema = output_schema(&columns, &options.spec, &events.schema, name)?;
        let built = JoinTable::build(&columns, Box::new(std::iter::empty()), None)?;
        Ok(GivenJoin {
            spec: Arc::new(options.spec.clone()),
            table: Arc::new(built.ok_or_else(|| Error::internal("no rows are too many"))?),
            schema,
            events: Arc::default(),
        })
    }

    /// The columns of the output: those of the events, and then the table's.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Joins the events, on all processors, and returns them in their order.
    ///
    /// # Errors
    /// A failure to start a thread.
    pub(crate) fn read(&self) -> Result<JoinedEvents> {
        let pieces: Vec<RecordBatch> = self.events.iter().flat_map(pieces).collect();
        let threads = processors().min(pieces.len());
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..threads).map(|_| sync_channel(WAITING)).unzip();
        let left = pieces.len();
        if left > 0 {
            let (spec, table, schema) =
                (self.spec.clone(), self.table.clone(), self.schema.clone());
            let run = move || join_pieces(&table, &spec, &schema, &pieces, senders);
            std::thread::Builder::new()
                .name("join".into())
                .spawn(run)
                .io_context(|| "cannot start a thread".into())?;
        }
        Ok(JoinedEvents {
            receivers,
            next: 0,
            left,
            ready: Vec::new().into_iter(),
        })
    }
}

impl GivenJoinOptions {
    fn date_column(&self, workspace: &Workspace<'_>) -> Result<DateColumn> {
        let zone = match &self.timezone {
            Some(timezone) => zone(timezone)?,
            None => workspace.config.zone()?,
        };
        Ok(DateColumn {
            name: self.date.clone(),
            format: self.date_format.clone(),
            zone,
            named_by: NamedBy::Arguments,
        })
    }

    /// The same for a backfill of the dates of a range.
    fn as_backfill(&self, range: DateRange) -> BackfillOptions {
        BackfillOptions {
            only: StateFilter::ORPHANED,
            using: self.using,
            tolerance: self.tolerance,
            lag: self.lag,
            ..BackfillOptions::of_range(range)
        }
    }
}

/// The same error with hints that name arguments of a call, and not options of the program.
fn in_arguments(error: Error) -> Error {
    error.with_hints(|hint| match hint.split_once(", or [tables.") {
        Some((option, rest)) if option.starts_with("--tolerance ") => {
            let days = option.trim_start_matches("--tolerance ");
            format!("tolerance=\"{days}\", or [tables.{rest}")
        }
        _ => hint,
    })
}

/// The columns of the output; see [`JoinColumns::output_schema`].
fn output_schema(
    columns: &JoinColumns,
    spec: &JoinSpec,
    events: &Schema,
    table: &TableName,
) -> Result<SchemaRef> {
    let schema = columns.output_schema(spec, events, "of the frame", table);
    schema.map_err(|error| {
        error.with_hints(|hint| {
            if hint.starts_with("[events.") {
                "cast the column of the events first".to_owned()
            } else if hint.starts_with("--select") {
                "columns=[...], without that column".to_owned()
            } else {
                hint
            }
        })
    })
}

/// The day of each event.
fn event_days(events: &GivenEvents, column: &DateColumn) -> Result<Vec<Date32Array>> {
    let name = &column.name;
    let at = events
        .schema
        .index_of(name)
        .map_err(|_| missing_column(name, &events.schema, PLACE))?;
    let data_type = known_type(&events.schema, at)?;
    column.check(&data_type, PLACE)?;
    let of_batch = |batch: &RecordBatch| {
        let values = cast_exactly(batch.column(at), &data_type, name)
            .map_err(|error| error.within(PLACE))?;
        column.days(&values, PLACE)
    };
    let days = events.batches.iter().map(of_batch);
    let days = days.collect::<Result<Vec<_>>>()?;
    let nulls = days.iter().map(|days| days.null_count() as u64).sum();
    column.refuse_nulls(nulls, PLACE)?;
    Ok(days)
}

/// The dates that there are.
fn distinct_dates(days: &[Date32Array], column: &DateColumn) -> Result<BTreeSet<NaiveDate>> {
    let (Some(first), Some(last)) = (
        days.iter().filter_map(min).min(),
        days.iter().filter_map(max).max(),
    ) else {
        return Ok(BTreeSet::new());
    };
    // All days of the calendar are few.
    column.date(first, PLACE)?;
    column.date(last, PLACE)?;
    let since_first = |day: i32| usize::try_from(day - first).unwrap_or_default();
    let mut is_there = vec![false; since_first(last) + 1];
    for days in days {
        for day in days.values() {
            is_there[since_first(*day)] = true;
        }
    }
    let days = (first..=last)
        .zip(is_there)
        .filter(|(_, is_there)| *is_there);
    days.map(|(day, _)| column.date(day, PLACE)).collect()
}

/// The canonical type of a column of the events.
fn known_type(schema: &Schema, at: usize) -> Result<DataType> {
    let field = schema.field(at);
    canonical(field.data_type()).ok_or_else(|| {
        Error::usage(format!(
            "{PLACE}: column '{}' is {}, which cannot be joined on",
            field.name(),
            type_name(field.data_type())
        ))
    })
}

/// The events with the columns that are joined on in canonical types.
fn with_canonical_keys(events: GivenEvents, spec: &JoinSpec) -> Result<GivenEvents> {
    let mut fields: Vec<Field> = Vec::with_capacity(events.schema.fields().len());
    for (at, field) in events.schema.fields().iter().enumerate() {
        let is_key = spec.on.iter().any(|(column, _)| column == field.name());
        let field = field.as_ref().clone();
        fields.push(match is_key {
            true => field.with_data_type(known_type(&events.schema, at)?),
            false => field,
        });
    }
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let converted = |batch: &RecordBatch| -> Result<RecordBatch> {
        let columns = batch.columns().iter().zip(schema.fields());
        let columns = columns.map(|(column, field)| {
            if column.data_type() == field.data_type() {
                return Ok(Arc::clone(column));
            }
            cast_exactly(column, field.data_type(), field.name())
                .map_err(|error| error.within(PLACE))
        });
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new_with_options(schema.clone(), columns, &options)
            .internal_context(|| "cannot convert events".into())
    };
    let batches = events
        .batches
        .iter()
        .map(converted)
        .collect::<Result<_>>()?;
    Ok(GivenEvents { schema, batches })
}

/// A batch with a column of dates after its own.
fn with_dates(batch: &RecordBatch, dates: Date32Array) -> Result<RecordBatch> {
    let mut fields: Vec<_> = batch.schema_ref().fields().iter().cloned().collect();
    // Columns are found by their names from the first one on.
    fields.push(Arc::new(Field::new("_date", DataType::Date32, true)));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(dates));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .internal_context(|| "cannot add the dates of events".into())
}

/// A batch in pieces of at most [`PIECE_ROWS`].
fn pieces(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let rows = batch.num_rows();
    let begins = (0..rows).step_by(PIECE_ROWS);
    begins.map(move |begin| batch.slice(begin, PIECE_ROWS.min(rows - begin)))
}

/// The output of a piece of events.
type JoinedPiece = Result<Vec<RecordBatch>>;

/// Joins pieces until nobody wants them any more; each thread joins every n-th of them, in order.
fn join_pieces(
    table: &JoinTable,
    spec: &JoinSpec,
    schema: &SchemaRef,
    pieces: &[RecordBatch],
    senders: Vec<SyncSender<JoinedPiece>>,
) {
    let threads = senders.len();
    let side = table.on_each();
    let side = &side;
    std::thread::scope(|scope| {
        for (number, sender) in senders.into_iter().enumerate() {
            scope.spawn(move || {
                for piece in pieces.iter().skip(number).step_by(threads) {
                    let joined = join_piece(side, spec, schema, piece);
                    let is_last = joined.is_err();
                    if sender.send(joined).is_err() || is_last {
                        return;
                    }
                }
            });
        }
    });
}

fn join_piece(
    side: &JoinTableOn<'_>,
    spec: &JoinSpec,
    schema: &SchemaRef,
    piece: &RecordBatch,
) -> JoinedPiece {
    let events = Box::new(std::iter::once(Ok(piece.clone())));
    let joined = side.join(spec, events, schema);
    joined.map(|batch| plain(&batch?, schema)).collect()
}

/// A batch with its texts out of dictionaries that only the join has.
fn plain(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| -> Result<ArrayRef> {
        match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast(column, field.data_type())
                .internal_context(|| format!("column '{}'", field.name())),
        }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .internal_context(|| "cannot join events".into())
}

/// The events that a join keeps, in their order, with the columns of the table.
pub(crate) struct JoinedEvents {
    /// One of each thread.
    receivers: Vec<Receiver<JoinedPiece>>,
    /// Whose piece comes next.
    next: usize,
    /// How many pieces are still to come.
    left: usize,
    ready: std::vec::IntoIter<RecordBatch>,
}

impl Iterator for JoinedEvents {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.ready.next() {
                return Some(Ok(batch));
            }
            if self.left == 0 {
                return None;
            }
            self.left -= 1;
            let piece = self.receivers[self.next].recv();
            self.next = (self.next + 1) % self.receivers.len();
            match piece.unwrap_or_else(|_| Err(Error::internal("a thread of asof panicked"))) {
                Ok(batches) => self.ready = batches.into_iter(),
                Err(error) => {
                    self.left = 0;
                    return Some(Err(error));
                }
            }
        }
    }
}
