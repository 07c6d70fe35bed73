//! Copies that were set aside: replaced, dropped or refused ones.
//!
//! No command reads them until somebody restores or publishes one, and then it has to be whole. So
//! each is read to its end, in parallel, and has to have the rows and the fingerprint that its
//! footer says. A copy that was damaged when it was replaced has no fingerprint in its name, and is
//! no problem: it was replaced for that.

use chrono::NaiveDate;

use super::ProblemKind;
use crate::commands::Workspace;
use crate::commands::snapshot::refused_objects;
use crate::domain::digest::{Fingerprint, RowSum};
use crate::engine::as_of::sentence;
use crate::engine::table::{SnapshotTable, all_digests};
use crate::error::{Result, word};
use crate::model::TableName;
use crate::parallel::{self, object_threads};
use crate::storage::lake::aside::{AsideCopy, aside_below};
use crate::storage::lake::location::Object;
use crate::storage::parquet::footer::{Content, SnapshotFooter};
use crate::storage::parquet::object::ParquetObject;

/// A copy, and what became of it.
struct SetAside {
    date: NaiveDate,
    object: Object,
    /// `replaced`, `dropped` or `refused`.
    by: &'static str,
}

/// What reading the copies showed.
#[derive(Default)]
pub(super) struct SetAsideFindings {
    /// How many are whole.
    pub(super) whole: u64,
    pub(super) problems: Vec<(Option<NaiveDate>, ProblemKind, String)>,
}

/// Reads the copies of a table that were set aside; there are none of an external table.
pub(super) fn look(workspace: &Workspace<'_>, table: &SnapshotTable) -> SetAsideFindings {
    let mut findings = SetAsideFindings::default();
    if !table.own {
        return findings;
    }
    let copies = match copies(workspace, table) {
        Ok(copies) => copies,
        Err(error) => {
            let what = format!("the copies that were set aside cannot be listed: {error}");
            let problem = (None, ProblemKind::Unreadable, what);
            findings.problems.push(problem);
            return findings;
        }
    };
    let threads = object_threads(table.root.store().is_some());
    let wrong = parallel::map(threads, &copies, |copy| copy.wrong(table));
    for (copy, wrong) in copies.iter().zip(wrong) {
        match wrong {
            None => findings.whole += 1,
            Some((kind, what)) => {
                let what = format!(
                    "the {} copy cannot be brought back: {what}; {}",
                    copy.by,
                    copy.way_out(&table.name)
                );
                findings.problems.push((Some(copy.date), kind, what));
            }
        }
    }
    findings
}

/// What is wrong with a copy that a check refused, if it is damaged.
pub(in crate::commands) fn damage_of_refused(
    table: &SnapshotTable,
    date: NaiveDate,
    object: &Object,
) -> Option<String> {
    let copy = SetAside {
        date,
        object: object.clone(),
        by: "refused",
    };
    copy.wrong(table).map(|(_, what)| what)
}

/// The copies that were whole when they were set aside, by what became of them and by date.
fn copies(workspace: &Workspace<'_>, table: &SnapshotTable) -> Result<Vec<SetAside>> {
    let lake = workspace.lake()?;
    let mut copies = Vec::new();
    let roots = [
        ("replaced", lake.superseded(&table.name)),
        ("dropped", lake.dropped(&table.name)),
    ];
    for (by, root) in roots {
        let aside = aside_below(&root, None)?.into_iter();
        let whole = aside.filter(|copy| copy.fingerprint != Fingerprint(0));
        copies.extend(whole.map(|AsideCopy { date, object, .. }| SetAside { date, object, by }));
    }
    let refused = refused_objects(workspace, &table.name, None)?.into_iter();
    copies.extend(refused.map(|(date, object)| SetAside {
        date,
        object,
        by: "refused",
    }));
    Ok(copies)
}

impl SetAside {
    /// What to do about a damaged copy.
    fn way_out(&self, table: &TableName) -> String {
        let option = match self.by {
            "replaced" => "--superseded",
            "refused" => "--refused",
            _ => return "if nobody needs it, delete it".to_owned(),
        };
        format!(
            "if nobody needs it, asof prune {} {option} deletes it",
            word(table.as_str())
        )
    }

    /// What is wrong with the copy, if anything is.
    fn wrong(&self, table: &SnapshotTable) -> Option<(ProblemKind, String)> {
        match self.read() {
            Ok((sum, footer)) => {
                let what = self.differs(table, sum, footer)?;
                Some((ProblemKind::Footer, what))
            }
            Err(error) => Some((ProblemKind::Unreadable, sentence(&error, &table.name))),
        }
    }

    /// The sum of its rows, and its footer if it has one.
    fn read(&self) -> Result<(RowSum, Option<SnapshotFooter>)> {
        let object = ParquetObject::open_listed(&self.object)?;
        let footer = object.footer()?;
        object.verify_unread()?;
        let mut sum = RowSum::default();
        for batch in object.read(None)? {
            sum.add(&all_digests(&batch?)?);
        }
        let footer = footer.and_then(|footer| match footer.content {
            Content::Snapshot(footer) => Some(footer),
            _ => None,
        });
        Ok((sum, footer))
    }

    /// How the rows or the place differ from what the footer says.
    fn differs(
        &self,
        table: &SnapshotTable,
        sum: RowSum,
        footer: Option<SnapshotFooter>,
    ) -> Option<String> {
        let path = &self.object.location;
        let Some(footer) = footer else {
            return Some(format!("'{path}' was not written by asof snapshot"));
        };
        if footer.table != table.name.as_str() || footer.snapshot_date != self.date {
            return Some(format!(
                "'{path}' says that it is {} of {}",
                footer.table, footer.snapshot_date
            ));
        }
        let is_same = sum.rows() == footer.rows && sum.fingerprint() == footer.fingerprint;
        (!is_same).then(|| format!("'{path}' does not have the rows that its footer says"))
    }
}
