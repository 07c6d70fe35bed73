//! A job bound to one date: everything that an executor is told.
//!
//! Binding decides nothing about how rows are computed. It names what the date's output is made
//! from, with the identity of each input; the relations of the job, each as the files that it
//! consists of and the rules for their types; and the place of the output. Executors that run in
//! this process open the relations here. One that runs elsewhere, such as a Spark session, needs
//! no more than the places, types and the job's query.

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use super::events::EventsSource;
use super::job::ResolvedJob;
use super::relations::{JobRelation, Reads, View};
use super::report::ServedBy;
use crate::domain::staleness::Inputs;
use crate::engine::as_of::{AsOfTable, Copies, KnownIntervals, Origin, TableHistory};
use crate::error::{Error, Result};
use crate::model::{DateRange, TableName};
use crate::source::{self, Format, TypeRules};
use crate::storage::lake::location::{Location, Object};
use crate::storage::{Batches, within};

/// A job bound to one date.
pub(super) struct BoundJob<'a> {
    pub(super) job: &'a ResolvedJob,
    pub(super) date: NaiveDate,
    /// What the output is made from, for its footer.
    pub(super) inputs: Inputs,
    /// What the job reads, in the order in which it names it.
    pub(super) relations: Vec<BoundRelation<'a>>,
    /// The object that is to be written.
    pub(super) output: Location,
}

/// A relation of a job on one date.
pub(super) struct BoundRelation<'a> {
    /// The relation as the job spells it.
    pub(super) relation: &'a JobRelation,
    pub(super) rows: RelationRows<'a>,
}

/// What holds the rows of a relation.
pub(super) enum RelationRows<'a> {
    /// Files of events.
    Events(BoundEvents<'a>),
    /// A table's snapshots or intervals.
    Table(BoundTable<'a>),
}

/// The events of one date.
pub(super) struct BoundEvents<'a> {
    pub(super) source: &'a EventsSource,
    job: &'a ResolvedJob,
    date: NaiveDate,
}

/// A table on one date.
pub(super) struct BoundTable<'a> {
    pub(super) name: &'a TableName,
    pub(super) history: &'a TableHistory,
    /// The observed date that serves the job's.
    pub(super) serving: NaiveDate,
    pub(super) view: View,
    /// The dates of the copies that the relation reads, if it reads copies.
    pub(super) copies: Vec<NaiveDate>,
    /// Whether other dates will ask for the table.
    many: bool,
}

impl ResolvedJob {
    /// Binds the job to a date that has these inputs; `many` says whether other dates will ask for
    /// the same tables.
    ///
    /// # Errors
    /// A refusal if a table has no snapshot that serves the date.
    pub(super) fn bind(&self, date: NaiveDate, inputs: Inputs, many: bool) -> Result<BoundJob<'_>> {
        let relations = self.relations.iter().map(|relation| {
            let rows = match &relation.reads {
                Reads::Events(name) => RelationRows::Events(self.bind_events(name, date)?),
                Reads::Table(table, view) => {
                    RelationRows::Table(self.bind_table(relation, table, *view, date, many)?)
                }
            };
            Ok(BoundRelation { relation, rows })
        });
        Ok(BoundJob {
            job: self,
            date,
            inputs,
            relations: relations.collect::<Result<_>>()?,
            output: self.path(date),
        })
    }

    fn bind_events(&self, name: &str, date: NaiveDate) -> Result<BoundEvents<'_>> {
        let source = self.events.iter().find(|events| events.name == name);
        Ok(BoundEvents {
            source: source
                .ok_or_else(|| Error::internal(format!("the events {name} are not known")))?,
            job: self,
            date,
        })
    }

    fn bind_table<'a>(
        &'a self,
        relation: &JobRelation,
        name: &'a TableName,
        view: View,
        date: NaiveDate,
        many: bool,
    ) -> Result<BoundTable<'a>> {
        let history = self
            .tables
            .get(name.as_str())
            .ok_or_else(|| Error::internal(format!("table {name} is not known")))?;
        let serving = history.resolve(date)?;
        let copies = match view {
            View::Snapshots => self.copies_read(relation, history, serving, date)?,
            View::AsOf | View::Intervals => Vec::new(),
        };
        Ok(BoundTable {
            name,
            history,
            serving,
            view,
            copies,
            many,
        })
    }
}

impl BoundEvents<'_> {
    /// The files of the date.
    pub(super) fn files(&self) -> &[Object] {
        self.source.files_of(self.date)
    }

    /// The refusal of a date without events.
    pub(super) fn nothing(&self) -> Error {
        let BoundEvents { source, date, .. } = self;
        let what = format!("events {} have {} of {date}", source.name, source.nothing());
        Error::refused(what).hint(source.hint_of(DateRange::single(*date)))
    }

    /// The events as errors name them.
    pub(super) fn place(&self) -> String {
        format!("events {}, {}", self.source.name, self.date)
    }

    /// Opens the events. Texts may come as dictionaries, but for the columns `plain`, if those are
    /// told. Text is read in the types of `followed`, if those are told: what is inferred from one
    /// date's values may be another one.
    ///
    /// # Errors
    /// A refusal of a date without events, and of files that cannot be read.
    pub(super) fn open(
        &self,
        plain: Option<&[String]>,
        followed: Option<SchemaRef>,
    ) -> Result<EventRows> {
        let source = self.source;
        let objects = self.files();
        if objects.is_empty() {
            return Err(self.nothing());
        }
        let mut types = TypeRules {
            pinned: followed,
            ..source.types.clone()
        };
        if let Some(keys) = plain {
            types.layout = types.layout.clone().without(self.left_to_output(keys));
        }
        let place = self.place();
        let at = |error: Error| error.within(&place);
        let format = source.format.of(objects).map_err(at)?;
        let rows = match plain {
            Some(plain) => source::read_as_dictionaries(objects, format, &types, plain),
            None => source::read(objects, format, &types, None),
        };
        let source::SourceRows {
            schema,
            batches,
            count,
        } = rows.map_err(at)?;
        Ok(EventRows {
            format,
            schema,
            batches: within(batches, place),
            count,
        })
    }

    /// The columns of the events' folders that a join leaves out, but for its keys: what the output
    /// has in its own path with the same value, which would be added to every row and left to the
    /// path again; and parts of the date, such as a month, which the date has.
    fn left_to_output(&self, keys: &[String]) -> Vec<String> {
        let path = self.job.layout.path(self.date);
        let has = |name: &str, value: &str| {
            path.split('/')
                .any(|part| part.split_once('=') == Some((name, value)))
        };
        let is_left = |name: &str, template: &str| {
            let value = self.date.format(template).to_string();
            has(name, &value) || NaiveDate::parse_from_str(&value, template).is_err()
        };
        let parts = self.source.layout.date_names().into_iter();
        parts
            .filter(|(name, template)| !keys.contains(name) && is_left(name, template))
            .map(|(name, _)| name)
            .collect()
    }
}

/// The rows of a date's events.
pub(super) struct EventRows {
    pub(super) format: Format,
    pub(super) schema: SchemaRef,
    pub(super) batches: Batches,
    /// How many there are, if the files say so.
    #[cfg_attr(
        not(feature = "sql"),
        allow(dead_code, reason = "only a query asks for it")
    )]
    pub(super) count: Option<u64>,
}

impl BoundTable<'_> {
    /// Opens the table's rows.
    ///
    /// # Errors
    /// A failure or refusal of reading the table.
    pub(super) fn open(&self) -> Result<TableRows> {
        Ok(match self.view {
            View::AsOf => TableRows::AsOf(self.history.as_of(self.serving, self.many)?),
            View::Snapshots => TableRows::Copies(self.history.copies(&self.copies, self.serving)?),
            View::Intervals => TableRows::Known(self.history.known_on(self.serving)?),
        })
    }

    /// Every column that the view could have, if its table had it on other dates.
    ///
    /// # Errors
    /// A failure or refusal of reading footers, or types that do not widen.
    #[cfg(feature = "sql")]
    pub(super) fn every_column(&self) -> Result<SchemaRef> {
        match self.view {
            View::AsOf => self.history.every_column(),
            View::Snapshots => self.history.columns_known(self.serving),
            View::Intervals => self.history.columns_of_intervals(self.serving),
        }
    }

    /// Where rows of the table came from.
    pub(super) fn served_by(&self, rows: &TableRows) -> ServedBy {
        let by_intervals = match rows {
            TableRows::AsOf(as_of) => as_of.origin() == Origin::Intervals,
            TableRows::Known(known) => known.is_published(self.history),
            TableRows::Copies(_) => false,
        };
        if by_intervals {
            ServedBy::Intervals
        } else {
            ServedBy::Snapshots
        }
    }
}

/// The rows of a table in one view.
#[derive(Clone)]
pub(super) enum TableRows {
    /// Those as of the date.
    AsOf(AsOfTable),
    /// Those of copies up to the date.
    Copies(Copies),
    /// The intervals as they were known on the date.
    Known(KnownIntervals),
}

impl TableRows {
    pub(super) fn schema(&self) -> &SchemaRef {
        match self {
            TableRows::AsOf(as_of) => &as_of.schema,
            TableRows::Copies(copies) => &copies.schema,
            TableRows::Known(known) => &known.schema,
        }
    }

    /// How many rows there are, if that is known from footers.
    #[cfg(feature = "sql")]
    pub(super) fn count(&self) -> Option<u64> {
        match self {
            TableRows::AsOf(as_of) => as_of.count,
            TableRows::Copies(_) | TableRows::Known(_) => None,
        }
    }

    /// Reads the named columns; names that the rows do not have are left out.
    pub(super) fn read(&self, columns: &[String]) -> Result<Batches> {
        match self {
            TableRows::AsOf(as_of) => as_of.read(columns),
            TableRows::Copies(copies) => copies.read(columns),
            TableRows::Known(known) => known.read(columns),
        }
    }

    /// The Parquet object that holds these rows and no others, in these types.
    pub(super) fn plain_object(&self) -> Result<Option<Object>> {
        match self {
            TableRows::AsOf(as_of) => as_of.plain_object(),
            TableRows::Copies(_) | TableRows::Known(_) => Ok(None),
        }
    }
}
