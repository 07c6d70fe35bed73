//! Doing a planned compaction, and publishing its intervals.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::plan::Compaction;
use super::{CompactReport, CompactionMode, Done};
use crate::commands::engine::Engine;
#[cfg(feature = "spark")]
use crate::commands::engine::connect;
#[cfg(not(feature = "spark"))]
use crate::commands::engine::no_spark;
#[cfg(feature = "spark")]
use crate::engine::compaction::SparkPass;
use crate::engine::compaction::{Base, CompactionFacts, Pass, Sink};
use crate::engine::intervals::Intervals;
use crate::error::{Error, Kind, Result};
use crate::interrupt::{self, uninterrupted};
use crate::parallel::decoding_threads;
use crate::secret::Secret;
use crate::storage::lake::aside::publish_copy;
use crate::storage::lake::commit::{Published, Staged, sweep, sweep_found};
use crate::storage::parquet::footer::{Content, Footer};
use crate::storage::parquet::writer::ObjectWriter;

impl Compaction<'_> {
    /// Reads the snapshots and writes the intervals, unless they stand or this is a dry run.
    pub(super) fn apply(mut self) -> Result<Done> {
        if !self.dry_run {
            self.sweep();
        }
        if self.new.is_empty() && self.base.as_ref().is_some_and(Base::is_whole) {
            self.mode = CompactionMode::UpToDate;
            self.base
                .iter()
                .try_for_each(|base| self.check_declared(&base.intervals.every_column()?))?;
            if !self.dry_run {
                self.recall.save();
            }
            return Ok(Done::Report(Box::new(self.report(None, 0)?)));
        }
        if self.dry_run {
            return Ok(Done::Report(Box::new(self.report(None, 0)?)));
        }
        let mut output = IntervalsOutput {
            run: &self,
            staged: None,
            writer: None,
        };
        let pass = Pass {
            table: &self.table,
            settings: &self.settings,
            base: self.base.as_ref(),
            part: None,
            memory: self.workspace.memory,
            threads: decoding_threads(),
            step: &|done, total| {
                self.workspace
                    .progress
                    .step(&format!("compact {}", self.table.name), done, total)
            },
        };
        let facts = match &self.engine {
            Engine::Local => pass.run(&self.new, &mut output),
            Engine::Spark(remote) => self.run_on_spark(pass, remote.as_ref(), &mut output),
        };
        let facts = facts.map_err(|error| self.overtaken(error))?;
        if !facts.as_text.is_empty() {
            return Ok(Done::AsText(facts.as_text));
        }
        self.note_new_columns(&facts);
        self.note_twins(&facts)?;
        let bytes = output.finish(&facts)?;
        if let (0, Some(condition)) = (facts.intervals, &self.settings.selection.condition) {
            self.workspace.progress.note(&format!(
                "{}: no row of any snapshot meets the condition {condition}",
                self.table.name
            ));
        }
        let volatile_columns = self.note_volatile_columns(&facts);
        self.remember(&facts);
        Ok(Done::Report(Box::new(CompactReport {
            volatile_columns,
            ..self.report(Some(&facts), bytes)?
        })))
    }

    /// Has a cluster compare the copies.
    #[cfg(feature = "spark")]
    fn run_on_spark(
        &self,
        pass: Pass<'_>,
        remote: Option<&Secret>,
        output: &mut IntervalsOutput<'_>,
    ) -> Result<CompactionFacts> {
        let server = connect(self.workspace, remote)?;
        let pass = SparkPass {
            pass,
            server: &server,
            path: &self.path,
        };
        pass.run(&self.new, output)
    }

    #[cfg(not(feature = "spark"))]
    fn run_on_spark(
        &self,
        _: Pass<'_>,
        _: Option<&Secret>,
        _: &mut IntervalsOutput<'_>,
    ) -> Result<CompactionFacts> {
        Err(no_spark())
    }

    /// Removes what interrupted writers left beside the intervals and, of a table in the lake, in
    /// the folders of its snapshots.
    fn sweep(&self) {
        let now = self.workspace.clock.now();
        if let Some(folder) = self.path.parent() {
            sweep(&folder, now);
        }
        if self.table.own {
            sweep_found(&self.leftovers, now);
        }
    }

    /// Remembers the fingerprints of the snapshots that were read.
    fn remember(&mut self, facts: &CompactionFacts) {
        for (date, objects) in &self.new {
            if let Some(observed) = facts
                .observed
                .iter()
                .find(|observed| observed.date == *date)
            {
                self.recall.learn(
                    *date,
                    objects,
                    observed.stored.unwrap_or(observed.fingerprint),
                );
            }
        }
        self.recall.save();
    }
}

/// The object of intervals on its way.
struct IntervalsOutput<'a> {
    run: &'a Compaction<'a>,
    staged: Option<Staged>,
    writer: Option<ObjectWriter>,
}

impl Sink for IntervalsOutput<'_> {
    fn begin(&mut self, table: &SchemaRef, schema: &SchemaRef) -> Result<()> {
        let Compaction { settings, path, .. } = self.run;
        settings.check(table, &self.run.table)?;
        if let Some(columns) = &self.run.columns_beside {
            let others = schema.fields().iter().map(|field| field.name().as_str());
            columns.check(self.run.table.name.as_str(), others)?;
        }
        self.run.check_declared(table)?;
        (self.writer, self.staged) = (None, None);
        let staged = Staged::create(path)?;
        let mut sorted_by = self.run.table.key.clone();
        sorted_by.push(settings.convention.start_column.clone());
        self.writer = Some(ObjectWriter::create(
            staged.writer()?,
            schema,
            &sorted_by,
            path,
        )?);
        self.staged = Some(staged);
        Ok(())
    }

    fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.writer.as_mut().map_or_else(
            || Err(Error::internal("nothing was begun")),
            |writer| writer.write(rows),
        )
    }
}

impl IntervalsOutput<'_> {
    /// Publishes the object whole; gives its size.
    fn finish(self, facts: &CompactionFacts) -> Result<u64> {
        let (Some(staged), Some(writer)) = (self.staged, self.writer) else {
            return Err(Error::internal("nothing was begun"));
        };
        if writer.rows() != facts.intervals {
            let counted = format!(
                "{} intervals were counted and {} written",
                facts.intervals,
                writer.rows()
            );
            return Err(Error::internal(format!(
                "table {}: {counted}",
                self.run.table.name
            )));
        }
        let footer = self
            .run
            .settings
            .footer(&self.run.table, facts, &self.run.types);
        let bytes = writer.finish(&footer)?;
        if let Some(aside) = &self.run.damaged_to {
            publish_copy(&self.run.path, aside)?;
        }
        let published = uninterrupted(|| {
            let check = || self.run.check_relied_on();
            let outcome = staged.publish_in_place_of_if(&self.run.standing, &check)?;
            if outcome == Published::Done {
                interrupt::published(self.run.table.name.as_str(), None, None);
            }
            Ok::<_, Error>(outcome)
        });
        if published? == Published::Exists {
            self.run.check_same(&footer)?;
        }
        Ok(bytes)
    }
}

impl Compaction<'_> {
    /// Returns a conflict if another writer has published different intervals since this compaction
    /// began. They may cover dates whose snapshots have been deleted. Intervals of the same
    /// snapshots are equal, byte for byte, and no conflict.
    fn check_same(&self, footer: &Footer) -> Result<()> {
        let stands = Intervals::open(&self.path)?;
        let same = matches!((&footer.content, &stands),
            (Content::Intervals(own), Some(other)) if *own == other.footer);
        if same {
            return Ok(());
        }
        Err(self.lost())
    }

    /// A failure to read, or the conflict that it comes from: the intervals that this compaction
    /// builds on were replaced meanwhile.
    fn overtaken(&self, error: Error) -> Error {
        match self.path.standing() {
            Ok(stands) if error.kind() == Kind::Io && stands != self.standing => self.lost(),
            _ => error,
        }
    }

    fn lost(&self) -> Error {
        let what = format!(
            "table {}: another writer published '{}' first",
            self.table.name,
            self.workspace.shown(&self.path)
        );
        Error::conflict(what).hint("run the same command again")
    }
}

#[cfg(test)]
mod tests {
    use super::super::CompactOptions;
    use super::super::existing::Existing;
    use super::*;
    use crate::commands::Workspace;
    use crate::commands::testing::{TestLake, date};
    use crate::storage::lake::location::Location;

    fn planned<'a>(workspace: &'a Workspace<'a>, lake: &TestLake) -> Compaction<'a> {
        planned_with(workspace, lake, CompactOptions::default())
    }

    fn planned_with<'a>(
        workspace: &'a Workspace<'a>,
        lake: &TestLake,
        options: CompactOptions,
    ) -> Compaction<'a> {
        let name = "item".parse().expect("a name");
        let path = Location::local(lake.intervals());
        let existing = Existing::at(&path, &name, &options).expect("intervals");
        let table = workspace.table(&name, &["id".to_owned()]).expect("a table");
        Compaction::plan(
            workspace,
            table,
            Default::default(),
            path,
            existing,
            &options,
        )
        .expect("planned")
    }

    #[test]
    fn of_two_compactions_the_slower_one_does_not_undo_the_other() {
        let lake = TestLake::filled();
        lake.compact("item");
        lake.take("2024-01-06", "id,price\n1,11\n");
        let workspace = lake.workspace();
        let slow = planned(&workspace, &lake);
        lake.compact("item");
        lake.take("2024-01-07", "id,price\n1,12\n");
        lake.compact("item");
        // Of the last date the intervals alone know by now.
        lake.forget("item", "2024-01-07");
        let error = slow.apply().err().expect("a conflict");
        assert_eq!(error.kind(), Kind::Conflict, "{error}");
        let stands = Intervals::open(&Location::local(lake.intervals()));
        let observed = stands.expect("it opens").expect("it is there").observed();
        assert!(observed.contains(&date("2024-01-07")), "{observed:?}");
    }

    #[test]
    fn a_copy_that_goes_meanwhile_keeps_intervals_from_being_replaced_that_have_more_of_it() {
        let options = || {
            let ignoring = CompactOptions {
                ignore: vec!["price".into()],
                ..CompactOptions::default()
            };
            let later = CompactOptions {
                from: Some(date("2024-01-05")),
                ..CompactOptions::default()
            };
            let full = CompactOptions {
                full: true,
                ..CompactOptions::default()
            };
            [ignoring, later, full]
        };
        for (at, options) in options().into_iter().enumerate() {
            let lake = TestLake::filled();
            lake.compact("item");
            let workspace = lake.workspace();
            let slow = planned_with(&workspace, &lake, options);
            // Read before, or not needed.
            let stands = slow.check_relied_on();
            assert!(stands.is_ok(), "{at}: {stands:?}");
            lake.forget("item", "2024-01-02");
            let gone = slow.check_relied_on().expect_err("a conflict");
            assert_eq!(gone.kind(), Kind::Conflict, "{at}");
        }
        let lake = TestLake::filled();
        lake.compact("item");
        lake.take("2024-01-06", "id,price\n1,11\n");
        let workspace = lake.workspace();
        let nightly = planned(&workspace, &lake);
        lake.forget("item", "2024-01-02");
        assert!(nightly.check_relied_on().is_ok(), "it has all rows");
    }

    #[test]
    fn of_two_first_compactions_the_second_does_not_replace_the_other() {
        let lake = TestLake::filled();
        let workspace = lake.workspace();
        let slow = planned(&workspace, &lake);
        lake.take("2024-01-07", "id,price\n1,12\n");
        lake.compact("item");
        assert_eq!(
            slow.apply().err().expect("a conflict").kind(),
            Kind::Conflict
        );
    }
}
