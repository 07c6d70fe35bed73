//! A pass that a cluster makes: Spark compares the copies, and asof writes the intervals.
//!
//! Footers are read here, as for a pass over sorted copies, so what the footer of the intervals
//! says is the same. Spark reads the copies that differ from the one before them
//! ([`CompactionQuery`]), and writes the intervals, in order of key and start, as files into a
//! folder beside the place of the intervals. They are decoded from there in that order, and become
//! one object of asof's own. On each date as many rows must hold as its snapshot has. The folder
//! goes when the pass ends.
//!
//! | what | where |
//! | --- | --- |
//! | footers, fingerprints, types, gaps | this process |
//! | reading and comparing copies, sorting | the cluster |
//! | encoding the intervals | this process |
//!
//! **Limits.** Copies of another tool have no fingerprints in footers, and a condition is in the
//! SQL of the local engine. Both are refused.
//!
//! Memory: of this process, a few batches.

use std::hash::{BuildHasher, RandomState};

use arrow::datatypes::{DataType, Schema, SchemaRef};
use chrono::NaiveDate;

use super::facts::CompactionFacts;
use super::interval_columns::with_interval;
use super::pass::{Pass, Sink, Snapshots};
use super::sorted::{OpenedSnapshot, observe, open, settled};
use crate::domain::cast::conform;
use crate::domain::held_rows::HeldRows;
use crate::domain::spark_compaction::{
    CompactionQuery, CompactionViews, DUPLICATE_KEY, NULL_KEY, date_column,
};
use crate::engine::intervals::split;
use crate::engine::spark::{
    SparkRelation, SparkServer, SparkSession, SparkWrite, cast_column, spark_name,
};
use crate::error::{Error, Result};
use crate::source::files_of;
use crate::storage::lake::location::Location;
use crate::storage::parquet::object::ParquetObject;

/// The view of the copies.
const COPIES: &str = "_asof_copies";
/// The view of the intervals that are extended.
const INTERVALS: &str = "_asof_intervals";
/// What the names of folders begin with into which Spark writes intervals.
const FOLDER: &str = "_spark-";

/// A pass that a cluster makes; see the module.
pub struct SparkPass<'a> {
    /// What the pass reads, and where it begins.
    pub pass: Pass<'a>,
    /// The cluster.
    pub server: &'a SparkServer,
    /// The place of the intervals.
    pub path: &'a Location,
}

impl SparkPass<'_> {
    /// Takes the snapshots, each later than those of the base, and gives the rows of all intervals.
    ///
    /// # Errors
    /// A usage error for what the cluster cannot do; a failure of the cluster; and as
    /// [`Pass::run`].
    pub fn run(&self, days: Snapshots<'_>, sink: &mut dyn Sink) -> Result<CompactionFacts> {
        let pass = &self.pass;
        self.refuse_what_spark_cannot()?;
        let table = &pass.table.name;
        let opened = open(pass, days)?.ok_or_else(|| {
            let what = format!("table {table}: a copy is not sorted by the key of the table");
            Error::usage(what).hint(format!("asof compact {table}"))
        })?;
        let observer = observe(pass, &opened)?;
        let Some(every) = observer.schema.clone() else {
            return Err(Error::internal("a compaction without copies"));
        };
        let wide = settled(pass, &every, &opened)?;
        self.refuse_nested_keys(&wide)?;
        let schema = with_interval(&wide, &pass.settings.convention);
        sink.begin(&wide, &schema)?;
        let mut facts = observer.facts;
        let read = self.to_read(&opened);
        facts.decoded = read.len() as u64;
        facts.unchanged = (opened.len() - read.len()) as u64;
        let folder = Staging::beside(self.path)?;
        let session = self.server.session()?;
        session.tell_cases_apart()?;
        self.compute(&session, &as_written(&wide), &read, &facts, &folder.place)?;
        self.take(&folder.place, &schema, sink, &mut facts)?;
        Ok(facts)
    }

    fn refuse_what_spark_cannot(&self) -> Result<()> {
        let Pass {
            table, settings, ..
        } = &self.pass;
        let why = if !table.own {
            "copies of another tool are compacted on this machine"
        } else if !settings.selection.is_whole() {
            "rows and columns are selected on this machine"
        } else {
            return Ok(());
        };
        let name = &table.name;
        Err(Error::usage(format!("table {name}: {why}")).hint(format!("asof compact {name}")))
    }

    /// Spark's order of lists and structs need not be asof's.
    fn refuse_nested_keys(&self, columns: &SchemaRef) -> Result<()> {
        let name = &self.pass.table.name;
        for key in &self.pass.settings.comparison.key {
            let field = columns.field_with_name(key);
            if field.is_ok_and(|field| field.data_type().is_nested()) {
                let what = format!("table {name}: key column '{key}' has parts");
                return Err(Error::usage(what).hint(format!("asof compact {name}")));
            }
        }
        Ok(())
    }

    /// The snapshots whose rows are read: those that are not known to equal the one before.
    fn to_read<'o>(&self, opened: &'o [OpenedSnapshot]) -> Vec<&'o OpenedSnapshot> {
        let policy = self.pass.settings.policy;
        let base = self.pass.base.map(|base| {
            let observed = &base.observed()[base.kept - 1];
            (observed.date, Some(observed.fingerprint))
        });
        let befores = opened.iter().map(|it| Some((it.date, it.known)));
        let befores = std::iter::once(base).chain(befores);
        let is_same = |before: Option<(NaiveDate, _)>, snapshot: &OpenedSnapshot| {
            before.is_some_and(|(last, known)| {
                snapshot.known.is_some()
                    && known == snapshot.known
                    && policy.joins(last, snapshot.date)
            })
        };
        befores
            .zip(opened)
            .filter(|(before, snapshot)| !is_same(*before, snapshot))
            .map(|(_, snapshot)| snapshot)
            .collect()
    }

    /// Has Spark write the intervals into a folder.
    fn compute(
        &self,
        session: &SparkSession<'_>,
        wide: &SchemaRef,
        read: &[&OpenedSnapshot],
        facts: &CompactionFacts,
        folder: &Location,
    ) -> Result<()> {
        let pass = &self.pass;
        let remote = self.server.remote();
        let date = date_column(wide);
        session.name(COPIES, &self.copies(wide, read, &date)?)?;
        if let Some(base) = pass.base {
            let stored = base.intervals.object().schema();
            let columns = with_interval(wide, &base.intervals.convention);
            let path = remote.path(base.intervals.location())?;
            let columns = columns.fields().iter();
            let columns = columns.map(|field| cast_column(stored, field.name(), field.data_type()));
            let rows = SparkRelation::parquet(&[path], stored)?;
            session.name(INTERVALS, &rows.project(columns))?;
        }
        let observed: Vec<NaiveDate> = facts.observed.iter().map(|it| it.date).collect();
        let dates: Vec<NaiveDate> = read.iter().map(|snapshot| snapshot.date).collect();
        let query = CompactionQuery {
            columns: wide,
            comparison: &pass.settings.comparison,
            convention: &pass.settings.convention,
            policy: pass.settings.policy,
            observed: &observed,
            read: &dates,
            extended: pass.base.map(|base| base.last()),
            views: CompactionViews {
                copies: COPIES,
                date_column: &date,
                intervals: INTERVALS,
            },
        };
        let write = SparkWrite {
            rows: &SparkRelation::sql(query.sql()?),
            folder: &remote.path(folder)?,
            prefix: "intervals",
        };
        let written = session.write(&write, &mut |done, all| (pass.step)(done, all));
        written.map_err(|error| self.of_keys(error))
    }

    /// The copies with their dates. Those of the same columns are one relation, in which the path
    /// of each file tells its date.
    fn copies(
        &self,
        wide: &SchemaRef,
        read: &[&OpenedSnapshot],
        date: &str,
    ) -> Result<SparkRelation> {
        let mut groups: Vec<(&SchemaRef, Vec<String>)> = Vec::new();
        for snapshot in read {
            let path = self.server.remote().path(snapshot.object.location())?;
            let stored = snapshot.object.schema();
            match groups.iter_mut().find(|(schema, _)| *schema == stored) {
                Some((_, paths)) => paths.push(path),
                None => groups.push((stored, vec![path])),
            }
        }
        let of_path = "regexp_extract(_metadata.file_path, \
                       '.*/snapshot_date=([0-9]{4}-[0-9]{2}-[0-9]{2})/[^/]*$', 1)";
        let parts = groups.iter().map(|(stored, paths)| {
            let columns = wide.fields().iter();
            let columns = columns.map(|field| cast_column(stored, field.name(), field.data_type()));
            let date = format!("CAST({of_path} AS DATE) AS {}", spark_name(date));
            let rows = SparkRelation::parquet(paths, stored)?;
            Ok(rows.project(columns.chain([date])))
        });
        let parts = parts.collect::<Result<Vec<_>>>()?;
        match parts.into_iter().reduce(SparkRelation::union_all) {
            Some(copies) => Ok(copies),
            // All copies equal the last one of the base.
            None => {
                let columns = wide.fields().iter();
                let none = SchemaRef::new(Schema::empty());
                let columns =
                    columns.map(|field| cast_column(&none, field.name(), field.data_type()));
                let date = format!("CAST(NULL AS DATE) AS {}", spark_name(date));
                let columns: Vec<String> = columns.chain([date]).collect();
                let query = format!("SELECT {} WHERE false", columns.join(", "));
                Ok(SparkRelation::sql(query))
            }
        }
    }

    /// Gives the sink the rows of Spark's files, in their order, and makes sure that as many hold on
    /// each date as its snapshot has.
    fn take(
        &self,
        folder: &Location,
        schema: &SchemaRef,
        sink: &mut dyn Sink,
        facts: &mut CompactionFacts,
    ) -> Result<()> {
        let convention = &self.pass.settings.convention;
        let mut held = HeldRows::on(facts.observed.iter().map(|it| it.date).collect());
        let mut files = files_of(folder)?;
        files.sort_by_key(|file| file.location.name());
        for file in &files {
            for batch in ParquetObject::open_listed(file)?.read_on_all_processors(None)? {
                let batch = conform(&batch?, schema)?;
                for interval in &split(&batch, convention)?.intervals {
                    held.add(interval);
                    facts.open += u64::from(interval.end.is_none());
                }
                facts.intervals += batch.num_rows() as u64;
                sink.write(batch)?;
            }
        }
        self.check_counts(&held, facts)
    }

    /// Refuses intervals of which other numbers of rows hold than the snapshots have: files were
    /// lost, or another compaction wrote among them.
    fn check_counts(&self, held: &HeldRows, facts: &CompactionFacts) -> Result<()> {
        let mut counts = held.counts().zip(&facts.observed);
        match counts.find(|((_, count), observed)| *count != observed.rows) {
            None => Ok(()),
            Some(((date, count), observed)) => Err(Error::conflict(format!(
                "table {}: the intervals that Spark wrote have {count} rows on {date}, and the \
                 snapshot has {}; nothing was published",
                self.pass.table.name, observed.rows
            ))
            .hint("run the same command again")),
        }
    }

    /// The refusal of keys that Spark's query refuses.
    fn of_keys(&self, error: Error) -> Error {
        let name = &self.pass.table.name;
        let told = error.to_string();
        let found = [NULL_KEY, DUPLICATE_KEY].into_iter().find_map(|what| {
            told.split_once(what)
                .map(|(_, rest)| (what, rest.to_owned()))
        });
        match found {
            Some((what, rest)) => {
                let what = what.trim_start_matches("asof: ");
                let rest: String = rest.chars().take_while(|c| *c != '\n').collect();
                Error::refused(format!("table {name}: {what}{rest}"))
                    .hint(format!("asof verify {name}"))
            }
            None => error.within(format!("table {name}")),
        }
    }
}

/// Columns as Spark writes them: it has no files of columns without a type.
fn as_written(columns: &SchemaRef) -> SchemaRef {
    let fields = columns
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Null => field.as_ref().clone().with_data_type(DataType::Utf8),
            _ => field.as_ref().clone(),
        });
    SchemaRef::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The folder into which Spark writes; dropping it removes it.
struct Staging {
    place: Location,
}

impl Staging {
    /// A folder beside the place of intervals, of which there is no other: what an interrupted pass
    /// left is removed.
    fn beside(path: &Location) -> Result<Self> {
        let folder = path.parent();
        let folder = folder.ok_or_else(|| Error::internal("intervals are in no folder"))?;
        for entry in folder.entries()? {
            if entry.is_folder && entry.name.starts_with(FOLDER) {
                folder.join(&entry.name).remove_folder()?;
            }
        }
        let number = RandomState::new().hash_one(path.to_string());
        Ok(Staging {
            place: folder.join(&format!("{FOLDER}{number:016x}")),
        })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = self.place.remove_folder();
    }
}
