//! The as-of join of a date's events: the build side built once, events streamed past it.
//!
//! The build side ([`JoinTable`]) is made of versions: rows of the table with the interval in which
//! each holds. It keeps the columns that the output needs, of the rows that hold on some date that
//! is asked for and for which the condition holds, so one of them serves every one of these dates.
//! Where versions come from, it need not know: the intervals, or a stream over snapshots
//! ([`super::join_input`]). Each column is one array, from which the rows that events meet are
//! taken; short texts of which there are few are a dictionary, which stays one until it is written.
//!
//! Events are read a batch at a time and keep their order.
//!
//! Memory: those columns and rows, the index of [`crate::domain::join`], and, while it is built, a
//! column more and, of intervals, a row group for each processor. Whoever builds it sets a limit;
//! only the build side of one date is built however large it is.

mod build_column;
mod spec;

use std::collections::VecDeque;
use std::iter::Fuse;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{BatchCoalescer, filter_record_batch};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef};
use chrono::NaiveDate;

use self::build_column::BuildColumn;
pub use self::spec::JoinSpec;
use super::expression::Condition;
use crate::domain::cast::conform;
use crate::domain::days::EPOCH_DAYS;
use crate::domain::digest::comparable;
use crate::domain::interval::Interval;
use crate::domain::join::{
    JoinKeys, KeyKind, Matches, NO_ROW, Versions, VersionsBuilder, VersionsOn, VersionsOnEach,
};
use crate::domain::missing_column::missing_column;
use crate::domain::schema::columns_by_name;
use crate::domain::type_names::type_name;
use crate::error::{Context, Error, Result, toml_key};
use crate::model::TableName;
use crate::parallel::{OrderedPool, Task, processors};
use crate::phases::Phase;
use crate::storage::Batches;
use crate::storage::parquet::object::{BATCH_ROWS, RowCondition};

/// What a join needs of a table that has certain columns.
pub struct JoinColumns {
    /// The columns that the output gets.
    selected: SchemaRef,
    /// The key's, in the order of the pairs.
    keys: Vec<Field>,
    /// All that are read: those two, and what the condition names.
    read: SchemaRef,
    condition: Option<Arc<Condition>>,
}

impl JoinColumns {
    /// `schema` is that of the table with every column that the join names.
    ///
    /// # Errors
    /// A usage error for a column or condition that is wrong.
    pub fn of(
        spec: &JoinSpec,
        table: &TableName,
        key: &[String],
        schema: &SchemaRef,
    ) -> Result<Self> {
        let what = format!("table {table}");
        let field = |name: &String| {
            schema
                .field_with_name(name)
                .cloned()
                .map_err(|_| missing_column(name, schema, &what))
        };
        let selected = spec
            .selected(schema, key)
            .iter()
            .map(field)
            .collect::<Result<Vec<_>>>()?;
        let keys = spec
            .on
            .iter()
            .map(|(_, column)| field(column))
            .collect::<Result<Vec<_>>>()?;
        let condition = spec
            .condition
            .as_ref()
            .map(|text| Condition::parse(text, schema))
            .transpose()?;
        let named = condition.iter().flat_map(|condition| condition.columns());
        let needed: Vec<&String> = selected
            .iter()
            .chain(&keys)
            .map(Field::name)
            .chain(named)
            .collect();
        let read: Vec<_> = schema
            .fields()
            .iter()
            .filter(|field| needed.contains(&field.name()))
            .cloned()
            .collect();
        Ok(JoinColumns {
            selected: Arc::new(Schema::new(selected)),
            keys,
            read: Arc::new(Schema::new(read)),
            condition: condition.map(Arc::new),
        })
    }

    /// Whether one build side serves both, for a join by the same spec.
    pub fn agree(&self, other: &JoinColumns) -> bool {
        self.selected == other.selected && self.keys == other.keys && self.read == other.read
    }

    /// The columns that the output gets, by their own names.
    pub fn selected(&self) -> &SchemaRef {
        &self.selected
    }

    /// The columns that are read.
    pub fn schema(&self) -> &SchemaRef {
        &self.read
    }

    /// The events' columns that are joined to keys of text, as text: a date whose codes are all
    /// digits has codes all the same.
    pub fn text_keys(&self, spec: &JoinSpec) -> SchemaRef {
        let pairs = spec.on.iter().zip(&self.keys);
        let fields = pairs
            .filter(|(_, key)| key.data_type() == &DataType::Utf8)
            .map(|((events, _), _)| Field::new(events, DataType::Utf8, true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The types of the key's columns, in the order in which they are joined.
    pub fn key_types(&self) -> impl Iterator<Item = DataType> {
        self.keys.iter().map(|key| key.data_type().clone())
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.read
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect()
    }

    /// The condition, for whoever reads no more than rows for which it holds.
    pub fn condition(&self) -> Option<Arc<dyn RowCondition>> {
        self.condition
            .clone()
            .map(|condition| condition as Arc<dyn RowCondition>)
    }

    /// A batch in the types of [`JoinColumns::schema`], of the rows for which the condition holds,
    /// and which those are; `None` for all.
    ///
    /// # Errors
    /// A refusal of a value that does not fit, or that the condition cannot be computed for.
    pub fn matching(&self, batch: &RecordBatch) -> Result<(RecordBatch, Option<BooleanArray>)> {
        let batch = conform(batch, &self.read)?;
        let Some(condition) = &self.condition else {
            return Ok((batch, None));
        };
        let mask = Phase::Query.spend(|| condition.mask(&batch))?;
        let rows = filter_record_batch(&batch, &mask).io_context(|| "cannot select rows".into())?;
        Ok((rows, Some(mask)))
    }

    fn key_columns(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.keys
            .iter()
            .filter_map(|key| batch.column_by_name(key.name()).cloned())
            .collect()
    }

    /// The columns of a join's output: every events column, then the selected ones; a name that
    /// clashes gets the suffix `_<table>`.
    ///
    /// # Errors
    /// A usage error if the events lack a column, types can never be equal, or a suffixed name
    /// clashes too.
    pub fn output_schema(
        &self,
        spec: &JoinSpec,
        events: &Schema,
        events_name: &str,
        table: &TableName,
    ) -> Result<SchemaRef> {
        for ((column, _), key) in spec.on.iter().zip(&self.keys) {
            let field = events
                .field_with_name(column)
                .map_err(|_| missing_column(column, events, &format!("events {events_name}")))?;
            if !comparable(field.data_type(), key.data_type()) {
                return Err(Error::usage(format!(
                    "events column '{column}' is {} and column '{}' of table {table} is {}: they \
                     never match",
                    type_name(field.data_type()),
                    key.name(),
                    type_name(key.data_type())
                ))
                .hint(format!(
                    "[events.{}] types = {{ {} = \"{}\" }} in asof.toml",
                    toml_key(events_name),
                    toml_key(column),
                    type_name(key.data_type())
                )));
            }
        }
        let mut fields: Vec<Field> = events
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        for field in self.selected.fields() {
            let taken = |name: &str| fields.iter().any(|field| field.name() == name);
            let name = if taken(field.name()) {
                format!("{}_{table}", field.name())
            } else {
                field.name().clone()
            };
            if taken(&name) {
                return Err(
                    Error::usage(format!("the output would have two columns '{name}'"))
                        .hint("--select COLUMN,..., without that column"),
                );
            }
            fields.push(field.as_ref().clone().with_name(name));
        }
        Ok(Arc::new(Schema::new(fields)))
    }
}

/// Rows with the interval in which each holds. Those of one key come in order of their start.
pub type Timed = Box<dyn Iterator<Item = Result<(RecordBatch, Vec<Interval>)>> + Send>;

/// Rows of one date, whose build side serves no other.
pub fn of_one_date(rows: Batches) -> Timed {
    let always = Interval {
        start: NaiveDate::MIN,
        end: None,
    };
    Box::new(rows.map(move |batch| {
        let batch = batch?;
        let intervals = vec![always; batch.num_rows()];
        Ok((batch, intervals))
    }))
}

/// The build side of a join.
pub struct JoinTable {
    versions: Versions,
    columns: Vec<BuildColumn>,
}

/// Rows of the build side that are still coming.
struct Gathering {
    versions: VersionsBuilder,
    columns: Vec<Vec<ArrayRef>>,
    bytes: usize,
}

impl JoinTable {
    /// Builds the build side of rows; `None` if that takes more than `limit` bytes.
    ///
    /// # Errors
    /// A failure or refusal of reading; a refusal for rows that share a key on a date, or whose key
    /// is null.
    pub fn build(columns: &JoinColumns, rows: Timed, limit: Option<usize>) -> Result<Option<Self>> {
        let kind = KeyKind::of(
            &columns
                .keys
                .iter()
                .map(Field::data_type)
                .collect::<Vec<_>>(),
        );
        let none = vec![Vec::new(); columns.selected.fields().len()];
        let mut gathering = Gathering {
            versions: VersionsBuilder::new(kind),
            columns: none,
            bytes: 0,
        };
        for timed in rows {
            let (batch, intervals) = timed?;
            gathering.add(columns, &batch, intervals)?;
            if limit.is_some_and(|limit| gathering.bytes + gathering.versions.bytes() > limit) {
                return Ok(None);
            }
        }
        let Gathering {
            versions,
            columns: gathered,
            ..
        } = gathering;
        let parts = gathered.into_iter().zip(
            columns
                .selected
                .fields()
                .iter()
                .map(|field| field.data_type().clone()),
        );
        let task = |(parts, data_type)| -> Task<BuildColumn> {
            Box::new(move || Ok(Phase::Join.spend(|| BuildColumn::of(parts, &data_type))))
        };
        let packed = OrderedPool::new(
            columns.selected.fields().len().min(processors()),
            usize::MAX,
            parts.map(task),
        )?;
        let (versions, packed) = std::thread::scope(|scope| {
            let versions = scope.spawn(|| Phase::Join.spend(|| versions.finish()));
            let packed = packed.collect::<Result<_>>();
            (
                versions
                    .join()
                    .unwrap_or_else(|_| Err(Error::internal("a thread of asof panicked"))),
                packed,
            )
        });
        Ok(Some(JoinTable {
            versions: versions?,
            columns: packed?,
        }))
    }

    /// The build side as of one of its dates.
    pub fn on(&self, date: NaiveDate) -> JoinTableOn<'_> {
        JoinTableOn {
            table: self,
            rows: Phase::Join.spend(|| BuildRows::OnDate(self.versions.on(date))),
        }
    }

    /// The build side as of the date of each event. Batches of events end with a column of those
    /// dates, which is not one of theirs.
    pub fn on_each(&self) -> JoinTableOn<'_> {
        JoinTableOn {
            table: self,
            rows: Phase::Join.spend(|| BuildRows::OnEach(self.versions.on_each())),
        }
    }
}

/// A build side as of a date, or of the date of each event.
pub struct JoinTableOn<'a> {
    table: &'a JoinTable,
    rows: BuildRows<'a>,
}

enum BuildRows<'a> {
    OnDate(VersionsOn<'a>),
    OnEach(VersionsOnEach<'a>),
}

impl JoinTableOn<'_> {
    /// Joins the date's events, of which texts may be in dictionaries, in batches of the columns of
    /// `output`.
    pub fn join<'b>(
        &'b self,
        spec: &'b JoinSpec,
        events: Batches,
        output: &SchemaRef,
    ) -> Joined<'b> {
        Joined {
            side: self,
            spec,
            output: output.clone(),
            events: events.fuse(),
            waiting: None,
            rows: VecDeque::new(),
            read: 0,
            matched: 0,
        }
    }

    /// The events of a batch, and which of them meet which rows.
    fn probe(&self, spec: &JoinSpec, mut events: RecordBatch) -> Result<(RecordBatch, Matches)> {
        let columns: Vec<ArrayRef> = spec
            .on
            .iter()
            .filter_map(|(column, _)| events.column_by_name(column).cloned())
            .collect();
        let matches = match &self.rows {
            BuildRows::OnDate(rows) => rows.probe(spec.how, &JoinKeys::of(rows.kind(), &columns)?),
            BuildRows::OnEach(rows) => {
                let dates = events.remove_column(events.num_columns() - 1);
                let days: Vec<i32> = dates
                    .as_primitive::<Date32Type>()
                    .values()
                    .iter()
                    .map(|day| day + EPOCH_DAYS)
                    .collect();
                rows.probe(spec.how, &JoinKeys::of(rows.kind(), &columns)?, &days)
            }
        };
        Ok((events, matches))
    }
}

/// The events of a date that a join keeps, in their order, with the columns of the table. Texts may
/// be in dictionaries.
///
/// Events that stay are gathered first: the table's columns are then taken for a whole batch of
/// them.
pub struct Joined<'a> {
    side: &'a JoinTableOn<'a>,
    spec: &'a JoinSpec,
    output: SchemaRef,
    /// Those that are still to be read.
    events: Fuse<Batches>,
    /// Those that stay, from the first batch on.
    waiting: Option<BatchCoalescer>,
    /// The row that each of them meets.
    rows: VecDeque<u32>,
    /// How many events there are, as far as they were read.
    pub read: u64,
    /// How many of them met a row.
    pub matched: u64,
}

impl Joined<'_> {
    /// Reads on, until there is a batch of events that stay or no more events.
    fn advance(&mut self) -> Result<Option<RecordBatch>> {
        let doing = || "cannot select events".to_owned();
        loop {
            if let Some(kept) = self
                .waiting
                .as_mut()
                .and_then(BatchCoalescer::next_completed_batch)
            {
                return Phase::Join.spend(|| self.with_table(&kept)).map(Some);
            }
            let Some(batch) = self.events.next().transpose()? else {
                let Some(mut waiting) = self.waiting.take() else {
                    return Ok(None);
                };
                waiting.finish_buffered_batch().io_context(doing)?;
                self.waiting = waiting.has_completed_batch().then_some(waiting);
                continue;
            };
            self.read += batch.num_rows() as u64;
            Phase::Join.spend(|| {
                let (batch, matches) = self.side.probe(self.spec, batch)?;
                self.matched += matches.matched;
                self.rows.extend(matches.rows);
                // Events that all stay need not be copied.
                let new = || {
                    BatchCoalescer::new(batch.schema(), BATCH_ROWS)
                        .with_biggest_coalesce_batch_size(Some(BATCH_ROWS - 1))
                };
                let waiting = self.waiting.get_or_insert_with(new);
                match matches.stay {
                    None => waiting.push_batch(batch),
                    Some(stay) => waiting.push_batch_with_filter(batch, &stay.into()),
                }
                .io_context(doing)
            })?;
        }
    }

    /// Events with the columns of the rows that they meet.
    fn with_table(&mut self, kept: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = kept.columns().to_vec();
        let mut rows: Vec<u32> = self.rows.drain(..kept.num_rows()).collect();
        let mut nulls = None;
        if rows.contains(&NO_ROW) {
            nulls = Some(NullBuffer::from(BooleanBuffer::collect_bool(
                rows.len(),
                |event| rows[event] != NO_ROW,
            )));
            rows.iter_mut()
                .for_each(|row| *row = if *row == NO_ROW { 0 } else { *row });
        }
        let rows = UInt32Array::new(rows.into(), nulls);
        for column in &self.side.table.columns {
            columns.push(
                column
                    .rows(&rows)
                    .io_context(|| "cannot join rows".into())?,
            );
        }
        let fields = self.output.fields().iter().zip(&columns);
        let fields: Vec<Field> = fields
            .map(|(field, column)| {
                field
                    .as_ref()
                    .clone()
                    .with_data_type(column.data_type().clone())
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(kept.num_rows()));
        let joined =
            RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
        joined.io_context(|| "cannot join rows".into())
    }
}

impl Iterator for Joined<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

impl Gathering {
    fn add(
        &mut self,
        columns: &JoinColumns,
        batch: &RecordBatch,
        mut intervals: Vec<Interval>,
    ) -> Result<()> {
        if columns
            .key_columns(batch)
            .iter()
            .any(|key| key.logical_null_count() > 0)
        {
            return Err(Error::refused("a key is null").hint("asof verify"));
        }
        let (batch, mask) = columns.matching(batch)?;
        if let Some(mask) = mask {
            let mut holds = mask.iter();
            intervals.retain(|_| holds.next().flatten() == Some(true));
        }
        Phase::Join.spend(|| {
            let keys = JoinKeys::of(self.versions.kind(), &columns.key_columns(&batch))?;
            self.versions.push(&keys, &intervals)?;
            let own = columns_by_name(&batch);
            for (parts, field) in self.columns.iter_mut().zip(columns.selected.fields()) {
                let Some(part) = own.get(field.name().as_str()) else {
                    continue;
                };
                // Pieces of one batch share its buffers: each counts for its own rows.
                self.bytes += part.to_data().get_slice_memory_size().unwrap_or(0);
                parts.push(ArrayRef::clone(part));
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::compute::cast;

    use super::*;
    use crate::domain::join::JoinKind;

    #[test]
    fn every_event_that_stays_keeps_its_place_and_its_row_however_events_come() {
        use arrow::array::{Int64Array, StringArray};
        let table: TableName = "item".parse().expect("a name");
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
        ]);
        // Of each three keys one has a row, and of these rows every fifth has no name.
        let name = |id: i64| (id % 5 > 0).then(|| format!("name {}", id % 1000));
        let ids: Vec<i64> = (0..9_000).step_by(3).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(ids.clone())),
            Arc::new(ids.iter().map(|id| name(*id)).collect::<StringArray>()),
        ];
        let rows = RecordBatch::try_new(Arc::new(schema), columns).expect("rows");
        let sizes = [0, 1, 8_192, 5_000, 0, 20_000, 8_192, 3];
        let key = |event: i64| (event % 11 > 0).then_some(event.wrapping_mul(7_919) % 10_000);
        let kind = |event: i64, batch: usize| {
            (event % 4 > 0).then(|| format!("kind {} of {}", event % 4, batch / 3))
        };
        let mut next = 0;
        let mut events = Vec::new();
        let mut plain = Vec::new();
        for (number, size) in sizes.into_iter().enumerate() {
            let these = next..next + size;
            next += size;
            plain.extend(
                these
                    .clone()
                    .map(|event| (event, key(event), kind(event, number))),
            );
            let kinds: ArrayRef = Arc::new(
                these
                    .clone()
                    .map(|event| kind(event, number))
                    .collect::<StringArray>(),
            );
            let few = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            let batch = RecordBatch::try_from_iter_with_nullable([
                (
                    "event",
                    Arc::new(Int64Array::from_iter_values(these.clone())) as ArrayRef,
                    true,
                ),
                (
                    "key",
                    Arc::new(these.map(key).collect::<Int64Array>()),
                    true,
                ),
                ("kind", cast(&kinds, &few).expect("few"), true),
            ]);
            events.push(batch.expect("events"));
        }
        for how in [
            JoinKind::Inner,
            JoinKind::Left,
            JoinKind::Semi,
            JoinKind::Anti,
        ] {
            // In the second round every event has a row.
            for all in [false, true] {
                let spec = JoinSpec {
                    on: vec![("key".into(), "id".into())],
                    how,
                    condition: None,
                    select: vec!["name".into()],
                };
                let columns = JoinColumns::of(&spec, &table, &["id".to_owned()], &rows.schema())
                    .expect("columns");
                let side = JoinTable::build(
                    &columns,
                    of_one_date(Box::new(std::iter::once(Ok(rows.clone())))),
                    None,
                );
                let side = side.expect("built").expect("no limit");
                let on = side.on(NaiveDate::MAX);
                let met = |key: Option<i64>| key.is_some_and(|key| key % 3 == 0 && key < 9_000);
                let wanted = |batch: &RecordBatch| -> RecordBatch {
                    let keys = batch
                        .column(1)
                        .as_primitive::<arrow::datatypes::Int64Type>();
                    let mask: BooleanArray =
                        keys.iter().map(|key| Some(!all || met(key))).collect();
                    filter_record_batch(batch, &mask).expect("events")
                };
                let batches: Vec<_> = events.iter().map(wanted).map(Ok).collect();
                let schema = Schema::new(vec![
                    Field::new("event", DataType::Int64, true),
                    Field::new("key", DataType::Int64, true),
                    Field::new("kind", DataType::Utf8, true),
                ]);
                let output = columns
                    .output_schema(&spec, &schema, "sales", &table)
                    .expect("a schema");
                let mut joined = on.join(&spec, Box::new(batches.into_iter()), &output);
                let mut found = Vec::new();
                for batch in &mut joined {
                    let batch = batch.expect("joined");
                    let ids = batch
                        .column(0)
                        .as_primitive::<arrow::datatypes::Int64Type>();
                    let texts = |at: usize| {
                        batch
                            .columns()
                            .get(at)
                            .map(|column| cast(column, &DataType::Utf8).expect("texts"))
                    };
                    let kinds = texts(2).expect("kinds");
                    let names = texts(3);
                    let text = |texts: &ArrayRef, row| {
                        texts
                            .is_valid(row)
                            .then(|| texts.as_string::<i32>().value(row).to_owned())
                    };
                    found.extend((0..batch.num_rows()).map(|row| {
                        (
                            ids.value(row),
                            text(&kinds, row),
                            names.as_ref().and_then(|names| text(names, row)),
                        )
                    }));
                }
                let stays = |key| match how {
                    JoinKind::Left => true,
                    JoinKind::Inner | JoinKind::Semi => met(key),
                    JoinKind::Anti => !met(key),
                };
                let given = plain.iter().filter(|(_, key, _)| !all || met(*key));
                let expected: Vec<_> = given
                    .clone()
                    .filter(|(_, key, _)| stays(*key))
                    .map(|(event, key, kind)| {
                        (
                            *event,
                            kind.clone(),
                            key.filter(|key| how.adds_columns() && met(Some(*key)))
                                .and_then(name),
                        )
                    })
                    .collect();
                assert!(found == expected, "{how:?}, all: {all}");
                let matched = given.clone().filter(|(_, key, _)| met(*key)).count();
                assert_eq!(
                    (joined.read, joined.matched),
                    (given.count() as u64, matched as u64)
                );
            }
        }
    }
}
