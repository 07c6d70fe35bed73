//! One job, ready to run: what its outputs are made from, where they are, and where each date
//! stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::command::CommandWork;
use crate::commands::Workspace;
use crate::domain::layout::Layout;
use crate::domain::path_columns::renamed;
use crate::domain::schema::type_name;
use crate::domain::staleness::{DateState, EventsInput, Inputs, TableInput};
use crate::engine::asof::TableHistory;
use crate::engine::dated::{Dated, Split};
use crate::engine::join::JoinSpec;
use crate::engine::table::Partitions;
use crate::error::{Error, Kind, Result, word};
use crate::model::{DateRange, TableName};
use crate::parallel::{self, decoding_threads, object_threads, processors};
use crate::source::{Dialect, FormatRule, TypeRules};
use crate::storage::lake::commit::publish_hint;
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::partitions::{Found, find_if_there};
use crate::storage::parquet::footer::{Content, ConventionWire, GapsWire, OutputFooter};
use crate::storage::parquet::object::ParquetObject;

/// The events of a job, in the range that was asked for.
pub(super) struct EventsSource {
    pub(super) name: String,
    pub(super) root: Location,
    pub(super) layout: Layout,
    pub(super) found: Found,
    pub(super) format: FormatRule,
    pub(super) types: TypeRules,
    /// If a column tells the dates: all of the events, and those of the range, split by date.
    /// `found` are the files of the split.
    pub(super) dated: Option<(Dated, Arc<Split>)>,
}

impl EventsSource {
    /// What the events of a date are.
    fn identity(&self, date: NaiveDate) -> Vec<EventsInput> {
        match &self.dated {
            None => self
                .found
                .partitions
                .get(&date)
                .into_iter()
                .flatten()
                .map(Object::identity)
                .collect(),
            Some((_, split)) => split.identity(date).into_iter().collect(),
        }
    }

    /// What to try where a range has no events.
    pub(super) fn hint_of(&self, range: DateRange) -> String {
        if let Some((dated, _)) = &self.dated {
            return format!(
                "correct the range, or the date column '{}'",
                dated.column.name
            );
        }
        let root = word(&self.root.to_string());
        let layout = word(&self.layout.to_string());
        format!(
            "asof partitions {root} --layout {layout} --from {} --to {}",
            range.from(),
            range.to()
        )
    }

    /// What there is of a date without events.
    pub(super) fn nothing(&self) -> &'static str {
        if self.dated.is_some() {
            "no rows"
        } else {
            "no partition"
        }
    }
}

/// One job, resolved.
pub(in crate::commands) struct Job {
    pub(super) name: String,
    /// Whether the command line describes it.
    pub(super) is_ad_hoc: bool,
    pub(super) work: Work,
    pub(super) output: Location,
    pub(super) layout: Layout,
    pub(super) events: Vec<EventsSource>,
    pub(super) tables: BTreeMap<String, TableHistory>,
    /// What a query reads, by the names that it has there.
    pub(super) relations: Vec<JobRelation>,
    /// The zone in which the job's days lie.
    pub(super) zone: Tz,
    pub(super) hash: String,
    /// What stood among the outputs of the range when the job began.
    pub(super) outputs: Partitions,
    /// The schemas of the nearest outputs before and after the range, if they are compared.
    pub(super) nearest: Vec<(NaiveDate, SchemaRef)>,
    /// The dates whose failure was kept when the job began.
    pub(super) failures: BTreeSet<NaiveDate>,
}

/// What a name in a query stands for.
#[derive(Clone)]
pub(super) struct JobRelation {
    /// The name in the query.
    pub(super) name: String,
    pub(super) reads: Reads,
}

/// What a job reads under a name.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Reads {
    /// Events of a name.
    Events(String),
    /// A table.
    Table(TableName, View),
}

impl Reads {
    /// The relation's own name.
    fn own_name(&self) -> String {
        match self {
            Reads::Events(name) => name.clone(),
            Reads::Table(table, view) => format!("{table}{}", view.suffix()),
        }
    }
}

/// What of a table's past a job reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum View {
    /// The table as of the date.
    AsOf,
    /// Every copy up to the date.
    Snapshots,
    /// The intervals as they were known on the date.
    Intervals,
}

impl View {
    pub(super) const HISTORY: [View; 2] = [View::Snapshots, View::Intervals];

    /// What the relation's name has after the table's.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            View::AsOf => "",
            View::Snapshots => "_snapshots",
            View::Intervals => "_intervals",
        }
    }
}

/// What a job does.
pub(super) enum Work {
    /// Runs a query.
    #[cfg_attr(
        not(feature = "sql"),
        allow(dead_code, reason = "refused before it is made")
    )]
    Sql(String),
    /// Joins its events to a table.
    Join(JoinSpec, TableName),
    /// Runs a program.
    Command(CommandWork),
}

impl Work {
    /// How many dates run in parallel, if nobody says. Each date of a join waits for the disk or
    /// the store a while, when its output is published, and needs little memory; queries share the
    /// memory that there is.
    pub(super) fn workers(&self) -> usize {
        match self {
            Work::Sql(_) | Work::Command(_) => processors(),
            Work::Join(..) => processors() + 2,
        }
    }
}

/// Why a date failed, kept beside the outputs.
#[derive(Serialize, Deserialize)]
struct Failure {
    date: NaiveDate,
    reason: String,
}

impl Job {
    /// The hash of all that the result depends on besides events and snapshots.
    pub(super) fn hash(&self) -> String {
        let work = match &self.work {
            Work::Sql(sql) => serde_json::json!({ "sql": sql.trim() }),
            Work::Join(spec, table) => serde_json::json!({ "join": spec, "table": table }),
            Work::Command(work) => serde_json::json!(work.definition),
        };
        let types: BTreeMap<&str, BTreeMap<&str, String>> = self
            .events
            .iter()
            .map(|events| {
                (
                    events.name.as_str(),
                    events
                        .types
                        .declared
                        .iter()
                        .map(|(name, data_type)| (name.as_str(), type_name(data_type)))
                        .collect(),
                )
            })
            .collect();
        let keys: BTreeMap<&str, &[String]> = self
            .tables
            .iter()
            .map(|(name, history)| (name.as_str(), history.table.key.as_slice()))
            .collect();
        let mut document = serde_json::json!({ "work": work, "events": types, "keys": keys });
        let declared = self
            .tables
            .iter()
            .filter(|(_, history)| !history.table.types.declared.is_empty());
        let declared: BTreeMap<&str, BTreeMap<&str, String>> = declared
            .map(|(name, history)| {
                let types = history
                    .table
                    .types
                    .declared
                    .iter()
                    .map(|(name, data_type)| (name.as_str(), data_type.to_string()));
                (name.as_str(), types.collect())
            })
            .collect();
        if !declared.is_empty() {
            document["tables"] = serde_json::json!(declared);
        }
        let as_text: Vec<&str> = self
            .events
            .iter()
            .filter(|events| events.types.csv_as_text)
            .map(|events| events.name.as_str())
            .collect();
        if !as_text.is_empty() {
            document["csv_as_text"] = serde_json::json!(as_text);
        }
        let renamed = self
            .relations
            .iter()
            .map(|relation| (relation.name.as_str(), relation.reads.own_name()));
        let renamed: BTreeMap<&str, String> = renamed.filter(|(name, own)| name != own).collect();
        if !renamed.is_empty() {
            document["names"] = serde_json::json!(renamed);
        }
        let made = self.tables.iter().filter_map(|(name, history)| {
            let settings = &history.settings()?.settings;
            let convention = ConventionWire::from(&settings.convention);
            let gaps = GapsWire::from(settings.policy);
            let mut made = vec![
                serde_json::json!(convention),
                serde_json::json!(gaps),
                serde_json::json!(settings.comparison.ignore),
                serde_json::json!(settings.comparison.track),
            ];
            if !settings.selection.is_whole() {
                made.push(serde_json::json!({ "where": settings.selection.condition, "select": settings.selection.select }));
            }
            Some((name.as_str(), serde_json::Value::Array(made)))
        });
        let made: BTreeMap<&str, serde_json::Value> = made.collect();
        if !made.is_empty() {
            document["intervals"] = serde_json::json!(made);
        }
        if let Work::Sql(sql) = &self.work {
            let sql = sql.to_ascii_lowercase();
            if sql.contains("{start") || sql.contains("{end") {
                document["timezone"] = serde_json::json!(self.zone.name());
            }
        }
        let dialects = self
            .events
            .iter()
            .filter(|events| !events.types.csv.is_default());
        let dialects: BTreeMap<&str, &Dialect> = dialects
            .map(|events| (events.name.as_str(), events.types.csv.as_ref()))
            .collect();
        if !dialects.is_empty() {
            document["csv"] = serde_json::json!(dialects);
        }
        let dated = self.events.iter().filter_map(|events| {
            Some((
                events.name.as_str(),
                events.dated.as_ref()?.0.column.in_json(),
            ))
        });
        let dated: BTreeMap<&str, serde_json::Value> = dated.collect();
        if !dated.is_empty() {
            document["date_columns"] = serde_json::json!(dated);
        }
        format!("{:032x}", xxh3_128(document.to_string().as_bytes()))
    }

    /// An error about what the job reads, with the names that the user knows.
    pub(super) fn reword(&self, error: Error) -> Error {
        self.events
            .iter()
            .filter_map(|events| events.dated.as_ref())
            .fold(error, |error, (dated, _)| dated.reword(error))
    }

    /// The root of the outputs, as it is shown.
    pub(in crate::commands) fn shown_output(&self, workspace: &Workspace<'_>) -> String {
        workspace.shown(&self.output)
    }

    /// What to write for outputs in a layout with other names.
    pub(super) fn other_layout(&self) -> String {
        let layout = renamed(&self.layout);
        if self.is_ad_hoc {
            format!("--out-layout {}", word(&layout))
        } else {
            format!("[jobs.{}] layout = \"{layout}\" in asof.toml", self.name)
        }
    }

    /// The object of a date.
    pub(super) fn path(&self, date: NaiveDate) -> Location {
        object_of(&self.output, &self.layout, &self.name, date)
    }

    /// The events' columns of a join that meet keys of text, as text: a date whose codes are all
    /// digits has codes all the same. Nothing is known of a table without a snapshot.
    pub(super) fn text_keys(&self, last: NaiveDate) -> Option<SchemaRef> {
        let Work::Join(spec, table) = &self.work else {
            return None;
        };
        let history = self.tables.get(table.as_str())?;
        let schema = history.columns_until(last).ok().flatten()?;
        let is_text = |column: &String| {
            schema
                .field_with_name(column)
                .is_ok_and(|field| field.data_type() == &DataType::Utf8)
        };
        let fields = spec
            .on
            .iter()
            .filter(|(_, column)| is_text(column))
            .map(|(events, _)| Field::new(events, DataType::Utf8, true));
        Some(SchemaRef::new(Schema::new(fields.collect::<Vec<_>>())))
    }

    /// The zone in which the days of the events lie, if columns tell them, and in one zone.
    pub(super) fn zone_of_events(&self) -> Option<Tz> {
        let mut zones = self
            .events
            .iter()
            .filter_map(|events| Some(events.dated.as_ref()?.0.column.zone));
        let first = zones.next()?;
        zones.all(|zone| zone == first).then_some(first)
    }

    fn failure_path(&self, date: NaiveDate) -> Location {
        Job::failures_root(&self.output, &self.name).join(&format!("{date}.json"))
    }

    fn failures_root(output: &Location, name: &str) -> Location {
        output.join("_asof").join("failed").join(name)
    }

    /// The dates whose failure is kept beside the outputs.
    ///
    /// # Errors
    /// A failure to list them.
    pub(super) fn failures_below(output: &Location, name: &str) -> Result<BTreeSet<NaiveDate>> {
        let entries = Job::failures_root(output, name).entries()?;
        Ok(entries
            .iter()
            .filter_map(|entry| entry.name.strip_suffix(".json")?.parse().ok())
            .collect())
    }

    /// The files that stand in the output's partition of a date now.
    pub(super) fn standing(&self, date: NaiveDate) -> Result<Vec<Object>> {
        let found = find_if_there(&self.output, &self.layout, Some(DateRange::single(date)))?;
        Ok(found.partitions.into_values().flatten().collect())
    }

    /// The dates of the range that have events, ascending; a query without events runs on every
    /// date.
    pub(in crate::commands) fn dates(&self, range: DateRange) -> Vec<NaiveDate> {
        if self.events.is_empty() {
            return range.dates().collect();
        }
        let mut dates: Vec<NaiveDate> = self
            .events
            .iter()
            .flat_map(|events| events.found.partitions.keys().copied())
            .collect();
        dates.sort();
        dates.dedup();
        dates
    }

    /// What the output of a date would be made from now.
    pub(super) fn inputs(&self, date: NaiveDate) -> Result<Inputs> {
        let mut tables = BTreeMap::new();
        let mut copies = BTreeMap::new();
        for (name, history) in &self.tables {
            let serving = history.resolve(date)?;
            let input = |snapshot_date: NaiveDate| {
                let fingerprint = history.facts(snapshot_date)?.fingerprint;
                Ok(TableInput {
                    snapshot_date,
                    fingerprint,
                })
            };
            if self.reads_as_of(name) {
                tables.insert(name.clone(), input(serving)?);
            }
            let mut read = BTreeSet::new();
            for relation in &self.relations {
                if matches!(&relation.reads, Reads::Table(table, view) if table.as_str() == name && *view != View::AsOf)
                {
                    read.extend(self.copies_read(relation, history, serving, date)?);
                }
            }
            if !read.is_empty() {
                copies.insert(
                    name.clone(),
                    read.into_iter().map(input).collect::<Result<Vec<_>>>()?,
                );
            }
        }
        let events = self
            .events
            .iter()
            .map(|events| (events.name.clone(), events.identity(date)))
            .collect();
        Ok(Inputs {
            job: self.hash.clone(),
            tables,
            events,
            history: copies,
        })
    }

    /// Whether the job reads a table as of the date: a join does, and a query that names it.
    fn reads_as_of(&self, table: &str) -> bool {
        let as_of = |relation: &JobRelation| matches!(&relation.reads, Reads::Table(name, View::AsOf) if name.as_str() == table);
        self.relations.is_empty() || self.relations.iter().any(as_of)
    }

    /// The dates of the copies that a relation with history needs for a date.
    #[cfg_attr(
        not(feature = "sql"),
        allow(unused_variables, reason = "only a query leaves copies out")
    )]
    pub(super) fn copies_read(
        &self,
        relation: &JobRelation,
        history: &TableHistory,
        serving: NaiveDate,
        date: NaiveDate,
    ) -> Result<Vec<NaiveDate>> {
        let visible = history.until(serving);
        match (&self.work, &relation.reads) {
            #[cfg(feature = "sql")]
            (Work::Sql(sql), Reads::Table(_, View::Snapshots)) => {
                use crate::engine::sql::{JobDay, bind, dates_read};

                dates_read(
                    &bind(
                        sql,
                        JobDay {
                            date,
                            zone: self.zone,
                        },
                    )?,
                    &relation.name,
                    visible,
                )
            }
            _ => Ok(visible.to_vec()),
        }
    }

    /// What the output of a date said that it was made from when the job began; `None` if there was
    /// none.
    fn recorded(&self, date: NaiveDate) -> Result<Option<Recorded>> {
        self.outputs
            .get(&date)
            .and_then(|objects| self.own(date, objects))
            .map(recorded_in)
            .transpose()
    }

    /// Where dates stand, in their order.
    pub(in crate::commands) fn states(&self, dates: &[NaiveDate]) -> Vec<Result<DateState>> {
        self.states_and_schemas(dates)
            .into_iter()
            .map(|state| state.map(|(state, _)| state))
            .collect()
    }

    /// Where dates stand, in their order, and the schemas of outputs that are up to date.
    pub(super) fn states_and_schemas(
        &self,
        dates: &[NaiveDate],
    ) -> Vec<Result<(DateState, Option<SchemaRef>)>> {
        // What is looked at is small, and waited for, but in external tables, which are read whole
        // for it.
        let is_external = |history: &TableHistory| !history.table.own;
        let number = match self.tables.values().any(is_external) {
            true => decoding_threads(),
            false => self
                .tables
                .values()
                .map(|history| object_threads(history.table.root.store().is_some()))
                .chain([object_threads(self.output.store().is_some())])
                .max()
                .unwrap_or(1),
        };
        self.read_facts_of_history(dates);
        let mut states = parallel::map(number, dates, |date| self.state(*date));
        let known = dates
            .iter()
            .zip(&states)
            .filter_map(|(date, state)| Some((*date, state.as_ref().ok()?.1.as_ref()?)));
        let types = self.output_types(known);
        for (state, schema) in states.iter_mut().flatten() {
            if let Some(reason) = schema.as_ref().and_then(|schema| types.missed(schema)) {
                (*state, *schema) = (DateState::Stale(reason), None);
            }
        }
        states
    }

    /// Reads, in parallel, what the footers of the copies say that the last date reads of tables'
    /// histories: earlier dates need most of them too. A failure comes again when a date needs the
    /// copy.
    fn read_facts_of_history(&self, dates: &[NaiveDate]) {
        let Some(last) = dates.last() else { return };
        for relation in &self.relations {
            let Reads::Table(table, View::Snapshots | View::Intervals) = &relation.reads else {
                continue;
            };
            let Some(history) = self
                .tables
                .get(table.as_str())
                .filter(|history| history.table.own)
            else {
                continue;
            };
            let copies = history
                .resolve(*last)
                .and_then(|serving| self.copies_read(relation, history, serving, *last));
            parallel::map(
                object_threads(history.table.root.store().is_some()),
                &copies.unwrap_or_default(),
                |copy| history.facts(*copy).map(|_| ()),
            );
        }
    }

    /// Where a date stands, and the schema of its output if that is up to date.
    fn state(&self, date: NaiveDate) -> Result<(DateState, Option<SchemaRef>)> {
        let note = if self.failures.contains(&date) {
            self.failure_path(date).read_small().ok().flatten()
        } else {
            None
        };
        let failure = note.and_then(|bytes| serde_json::from_slice::<Failure>(&bytes).ok());
        let inputs = self.inputs(date)?;
        let recorded = self.recorded(date)?;
        let was = recorded.as_ref().map(|recorded| &recorded.footer.inputs);
        let state = DateState::of(was, &inputs, failure.map(|failure| failure.reason));
        let schema = recorded
            .filter(|_| state == DateState::UpToDate)
            .map(|recorded| recorded.schema);
        Ok((state, schema))
    }

    /// Keeps a failure beside the outputs, for `--only failed` and `asof status`; failing that, it
    /// is told anyway.
    pub(super) fn remember(&self, date: NaiveDate, error: &Error) {
        publish_hint(
            &self.failure_path(date),
            &Failure {
                date,
                reason: error.to_string(),
            },
        );
    }

    /// Forgets the failure of a date that was written since.
    pub(super) fn forget_failure(&self, date: NaiveDate) {
        if self.failures.contains(&date) {
            let _ = self.failure_path(date).remove();
        }
    }
}

/// The object of a date below an output.
pub(super) fn object_of(
    output: &Location,
    layout: &Layout,
    job: &str,
    date: NaiveDate,
) -> Location {
    let path = output.join(&layout.path(date));
    if path.ending() == "parquet" {
        path
    } else {
        path.join(&format!("{job}.parquet"))
    }
}

/// What an output is.
pub(super) struct Recorded {
    /// What it says of itself.
    pub(super) footer: OutputFooter,
    /// Its columns.
    pub(super) schema: SchemaRef,
}

/// Opens an output.
///
/// # Errors
/// A refusal of an object that asof did not write; a failure to read it.
pub(super) fn recorded_in(object: &Object) -> Result<Recorded> {
    let external = || {
        Error::refused(format!(
            "'{}' was not written by asof, and will not be replaced",
            object.location
        ))
        .hint("remove it, or choose another --out or output")
    };
    let opened = ParquetObject::open(&object.location).map_err(|error| {
        if error.kind() == Kind::Io {
            error
        } else {
            external()
        }
    })?;
    match opened.footer()?.map(|footer| footer.content) {
        Some(Content::Output(footer)) => Ok(Recorded {
            footer,
            schema: opened.schema().clone(),
        }),
        _ => Err(external()),
    }
}
