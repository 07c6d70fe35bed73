//! Writing what was adopted: intervals in a temporary file, which are proven, published, and
//! expanded.

use std::fs::File;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;
use tempfile::TempDir;

use super::plan::AdoptPlan;
use super::report::{AdoptOutcome, AdoptReport};
use crate::commands::Workspace;
use crate::commands::compact::{CompactOptions, compact};
use crate::commands::expand::{ExpandOptions, expand};
use crate::commands::snapshot::Outcome;
use crate::commands::verify::expansions;
use crate::domain::digest::RowSum;
use crate::domain::type_names::type_name;
use crate::engine::compaction::{CompactionFacts, interval_schema};
use crate::engine::intervals::Intervals;
use crate::error::{Context, Error, Result, word};
use crate::interrupt::{Temporary, published, temporary, uninterrupted};
use crate::storage::lake::commit::{Published, Staged, sweep};
use crate::storage::lake::location::Location;
use crate::storage::lake::standing::Standing;
use crate::storage::parquet::footer::ObservedWire;
use crate::storage::parquet::writer::ObjectWriter;

/// Intervals that are being written to a temporary file.
pub(super) struct UnprovenFile {
    folder: Temporary<TempDir>,
    place: Location,
    writer: ObjectWriter,
}

/// What cannot be done if the temporary folder cannot be written to.
const DOING: &str = "cannot write intervals to the temporary folder (TMPDIR)";

impl UnprovenFile {
    pub(super) fn new(plan: &AdoptPlan, table: &SchemaRef) -> Result<Self> {
        let doing = || DOING.to_owned();
        let folder = temporary(|| tempfile::Builder::new().prefix(".asof-adopt-").tempdir());
        let folder = folder.temporary_context(doing)?;
        let path = folder.path().join(format!("{}.parquet", plan.table.name));
        let convention = &plan.settings.convention;
        let mut sorted_by = plan.table.key.clone();
        sorted_by.push(convention.start_column.clone());
        let file = File::create(&path).temporary_context(doing)?;
        let place = Location::local(path);
        let schema = interval_schema(table, convention);
        Ok(UnprovenFile {
            writer: ObjectWriter::create(file, &schema, &sorted_by, &place)?,
            place,
            folder,
        })
    }

    pub(super) fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.writer.write(rows)
    }

    /// Ends the file, and proves that its rows are those of the versions on each date.
    pub(super) fn finish(
        self,
        plan: &AdoptPlan,
        observed: Vec<ObservedWire>,
        table: &SchemaRef,
        intervals: u64,
    ) -> Result<ProvenFile> {
        let facts = CompactionFacts {
            observed,
            schemas: AdoptPlan::schemas(table),
            intervals,
            ..CompactionFacts::default()
        };
        let declared = plan.table.types.declared.iter();
        let types = declared.map(|(name, data_type)| (name.clone(), type_name(data_type)));
        let footer = plan.settings.footer(&plan.table, &facts, &types.collect());
        self.writer.finish(&footer)?;
        let intervals = Intervals::open_existing(&self.place)?;
        prove(&intervals)?;
        Ok(ProvenFile {
            _folder: self.folder,
            place: self.place,
            intervals,
        })
    }
}

/// Compares the rows that intervals give for each date, as they were written, with those that the
/// versions had as they were read.
fn prove(intervals: &Intervals) -> Result<()> {
    let sums = expansions(intervals).map_err(|error| Error::internal(error.to_string()))?;
    let observed = intervals.footer.observed.iter().zip(sums);
    let wrong = |(observed, sum): &(&ObservedWire, RowSum)| {
        observed.rows != sum.rows() || observed.fingerprint != sum.fingerprint()
    };
    match observed.into_iter().find(wrong) {
        None => Ok(()),
        Some((observed, _)) => Err(Error::internal(format!(
            "table {}: the intervals do not give the versions of {} back",
            intervals.footer.table, observed.date
        ))),
    }
}

/// Intervals in a temporary file that give back the table on each date.
pub(super) struct ProvenFile {
    _folder: Temporary<TempDir>,
    place: Location,
    intervals: Intervals,
}

/// Which of the adopted dates the intervals have that stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AdoptedSoFar {
    /// None, or some of the copies that are to be expanded.
    None,
    /// All of them, and no other.
    All,
    /// All of them, and later ones.
    AndLater,
}

/// A table that is being written to the lake.
pub(super) struct Adoption<'a> {
    workspace: &'a Workspace<'a>,
    plan: &'a AdoptPlan,
    file: ProvenFile,
    /// Where the intervals go, and what stood there.
    path: Location,
    standing: Standing,
}

impl<'a> Adoption<'a> {
    /// Refuses a table of which the lake already knows something else.
    pub(super) fn new(
        workspace: &'a Workspace<'a>,
        plan: &'a AdoptPlan,
        file: ProvenFile,
    ) -> Result<Self> {
        workspace.check_writes_below(workspace.lake()?.root())?;
        let path = workspace.intervals_path(&plan.table.name, None)?;
        let standing = path.standing()?;
        Ok(Adoption {
            workspace,
            plan,
            file,
            path,
            standing,
        })
    }

    pub(super) fn run(self, report: &mut AdoptReport) -> Result<()> {
        let now = self.workspace.clock.now();
        if let Some(folder) = self.path.parent() {
            sweep(&folder, now);
        }
        let known = self.known()?;
        if known == AdoptedSoFar::None {
            self.check_copies()?;
        }
        report.copies = match (self.plan.expands, known) {
            (true, _) => self.expand_all()?,
            // Which of the adopted copies are kept is no longer for this command to say.
            (false, AdoptedSoFar::AndLater) => Vec::new(),
            (false, known) => {
                if known == AdoptedSoFar::None {
                    self.publish()?;
                }
                self.expand_ends()?
            }
        };
        report.outcome = match known != AdoptedSoFar::None && report.copies.is_empty() {
            true => AdoptOutcome::AlreadyAdopted,
            false => AdoptOutcome::Adopted,
        };
        report.path = Some(self.workspace.shown(&self.path));
        Ok(())
    }

    fn observed(&self) -> &[ObservedWire] {
        &self.file.intervals.footer.observed
    }

    /// Which of the dates that are to be adopted the intervals have that stand.
    ///
    /// # Errors
    /// A refusal if they are others.
    fn known(&self) -> Result<AdoptedSoFar> {
        if self.standing == Standing::Nothing {
            return Ok(AdoptedSoFar::None);
        }
        let name = &self.plan.table.name;
        let stands = Intervals::open_existing(&self.path)?;
        let own = self.observed().iter();
        let pairs = own.zip(&stands.footer.observed);
        let is_same = |(own, other): (&ObservedWire, &ObservedWire)| {
            own.date == other.date && own.fingerprint == other.fingerprint
        };
        let (there, wanted) = (stands.footer.observed.len(), self.observed().len());
        if there >= wanted && pairs.into_iter().all(is_same) {
            return Ok(match there > wanted {
                true => AdoptedSoFar::AndLater,
                false => AdoptedSoFar::All,
            });
        }
        // Intervals of some of the copies of an earlier run, which ended before all were there.
        if self.plan.expands && stands.observed().iter().all(|date| self.is_adopted(*date)) {
            return Ok(AdoptedSoFar::None);
        }
        let what = format!(
            "table {name} has intervals already, of {} dates, and they are not those of this source",
            stands.footer.observed.len()
        );
        Err(Error::refused(what)
            .hint("choose another name for the table")
            .hint(format!("asof status {}", word(name.as_str()))))
    }

    /// Whether a date is to be adopted.
    fn is_adopted(&self, date: NaiveDate) -> bool {
        self.file.intervals.snapshot(date).is_some()
    }

    /// Refuses copies of the dates that are to be adopted. Those that are to be written may be of
    /// an earlier run; if they are not, expanding refuses them.
    fn check_copies(&self) -> Result<()> {
        let name = &self.plan.table.name;
        let last = self.observed().last().map(|observed| observed.date);
        let found = self.plan.table.find_any(None)?.dates();
        let is_other = |date: &&NaiveDate| {
            Some(**date) <= last && !(self.plan.expands && self.is_adopted(**date))
        };
        match found.iter().find(is_other) {
            None => Ok(()),
            Some(date) => {
                let what = format!(
                    "table {name} has a snapshot of {date}, and the history of the source reaches \
                     to {}",
                    last.unwrap_or_default()
                );
                let before = date.pred_opt().unwrap_or(*date);
                Err(Error::refused(what)
                    .hint(format!("--to {before}, to adopt the dates before it"))
                    .hint("choose another name for the table"))
            }
        }
    }

    /// Publishes the intervals if nothing has their name.
    fn publish(&self) -> Result<()> {
        let staged = Staged::create(&self.path)?;
        let Some(made) = self.file.place.as_local() else {
            return Err(Error::internal("a temporary file is not on a disk"));
        };
        let mut from = File::open(made).temporary_context(|| DOING.to_owned())?;
        std::io::copy(&mut from, &mut staged.writer()?)
            .io_context(|| format!("cannot write '{}'", self.path))?;
        uninterrupted(|| {
            if staged.publish_in_place_of(&self.standing)? == Published::Exists {
                let what = format!(
                    "table {}: another writer published '{}' first",
                    self.plan.table.name,
                    self.workspace.shown(&self.path)
                );
                return Err(Error::conflict(what).hint("run the same command again"));
            }
            published(self.plan.table.name.as_str(), None, self.path.as_local());
            Ok(())
        })
    }

    /// Writes the copies of the first and the last date.
    fn expand_ends(&self) -> Result<Vec<NaiveDate>> {
        let observed = self.observed();
        let (Some(first), Some(last)) = (observed.first(), observed.last()) else {
            return Ok(Vec::new());
        };
        let mut written = self.expand(first.date, first.date)?;
        if first.date != last.date {
            written.extend(self.expand(last.date, last.date)?);
        }
        Ok(written)
    }

    /// Writes the copies of all dates, and compacts them.
    fn expand_all(&self) -> Result<Vec<NaiveDate>> {
        let observed = self.observed();
        let (Some(first), Some(last)) = (observed.first(), observed.last()) else {
            return Ok(Vec::new());
        };
        let written = self.expand(first.date, last.date)?;
        let name = self.plan.table.name.to_string();
        let options = CompactOptions {
            key: self.plan.table.key.clone(),
            ..CompactOptions::default()
        };
        compact(self.workspace, &[name], &options)?;
        Ok(written)
    }

    /// Writes the copies of a range that are not there; gives their dates.
    fn expand(&self, from: NaiveDate, to: NaiveDate) -> Result<Vec<NaiveDate>> {
        let options = ExpandOptions {
            table: self.plan.table.name.to_string(),
            from,
            to,
            out: self.plan.table.root.to_string(),
            dry_run: false,
            intervals: Some(self.file.place.to_string()),
        };
        let report = expand(self.workspace, &options)?;
        let dates = report.dates.iter();
        let written = dates.filter(|date| date.outcome == Outcome::Published);
        Ok(written.map(|date| date.snapshot_date).collect())
    }
}
