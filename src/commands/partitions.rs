//! `asof partitions`: the partitions of a range, found by guided search.
//!
//! Read: listings of the folders that lead to a date of the range, and of nothing else; their
//! number is reported. No file is opened. Memory: one entry a file of the range.

use chrono::NaiveDate;
use serde::Serialize;

use super::Workspace;
use crate::domain::layout::Layout;
use crate::error::{Error, Result};
use crate::model::DateRange;
use crate::storage::lake::location::Location;
use crate::storage::lake::partitions::{OtherPadding, find_by};
use crate::storage::object_store::search::Strategy;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct PartitionsOptions {
    /// The root of the partitions, or the name of events in asof.toml.
    pub path: String,
    /// Their layout; if `None`, that of the events of this name.
    pub layout: Option<String>,
    /// The first date.
    pub from: NaiveDate,
    /// The last date.
    pub to: NaiveDate,
    /// How they are looked for.
    pub strategy: Strategy,
}

/// What a range holds.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionsReport {
    /// The root of the partitions.
    pub path: String,
    /// Their layout.
    pub layout: String,
    /// The range that was asked for.
    #[serde(flatten)]
    pub range: DateRange,
    /// The dates that have files, ascending.
    pub partitions: Vec<PartitionReport>,
    /// Their files.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// The dates of the range that have none, in runs.
    pub missing: Vec<DateRange>,
    /// How many those are.
    pub missing_days: u64,
    /// How they were looked for.
    pub strategy: Strategy,
    /// How many listings it took.
    pub requests: u64,
    /// Why the range could not be found in one run of keys, if it could not.
    pub scattered: Option<String>,
    /// Names at a leaf that do not match the layout; up to five.
    pub unrecognized_paths: Vec<String>,
    /// A path of the range that another padding of months or days reads.
    pub other_padding: Option<OtherPadding>,
}

/// One partition.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionReport {
    /// Its date.
    pub date: NaiveDate,
    /// Its path below the root.
    pub path: String,
    /// How many files it has.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
}

/// Finds the partitions of a range.
///
/// # Errors
/// A usage error for a wrong layout or range, or a root that is not a folder; a failure if a folder
/// cannot be listed.
pub fn partitions(
    workspace: &Workspace<'_>,
    options: &PartitionsOptions,
) -> Result<PartitionsReport> {
    let range = DateRange::new(options.from, options.to)?;
    let (root, layout) = place(workspace, options)?;
    let found = find_by(options.strategy, &root, &layout, Some(range))?;
    let partitions: Vec<PartitionReport> = found
        .partitions
        .iter()
        .map(|(date, objects)| PartitionReport {
            date: *date,
            path: layout.path(*date),
            files: objects.len() as u64,
            bytes: objects.iter().map(|object| object.size).sum(),
        })
        .collect();
    let missing = missing(range, &found.dates())?;
    Ok(PartitionsReport {
        path: workspace.shown(&root),
        layout: layout.to_string(),
        range,
        files: partitions.iter().map(|partition| partition.files).sum(),
        bytes: partitions.iter().map(|partition| partition.bytes).sum(),
        partitions,
        missing_days: missing.iter().map(|run| run.len() as u64).sum(),
        missing,
        strategy: options.strategy,
        requests: found.requests,
        scattered: found.scattered,
        other_padding: found.other_padding,
        // A date outside the range is not unrecognized.
        unrecognized_paths: found
            .unrecognized_paths
            .into_iter()
            .filter(|name| layout.date(name).is_none())
            .collect(),
    })
}

/// The root and the layout of the partitions.
fn place(workspace: &Workspace<'_>, options: &PartitionsOptions) -> Result<(Location, Layout)> {
    let PartitionsOptions { path, layout, .. } = options;
    if let Some(layout) = layout {
        return Ok((workspace.here(path)?, Layout::parse(layout)?));
    }
    match workspace.config.events.get(path) {
        Some(events) if !events.layout.is_empty() => Ok((
            workspace.configured(&events.path)?,
            Layout::parse(&events.layout)?,
        )),
        Some(_) => Err(
            Error::usage(format!("events {path} have no layout in asof.toml"))
                .hint("--layout 'date=%Y-%m-%d'"),
        ),
        None => {
            let known = workspace.config.events.keys().map(String::as_str);
            let what = format!(
                "the layout of '{path}' is unknown, and asof.toml has no events of this name"
            );
            Err(Error::usage(what)
                .hint_nearest(path, known, || "--layout 'date=%Y-%m-%d'".to_owned()))
        }
    }
}

/// The runs of dates of a range that are not among `dates`, which are ascending and within it.
fn missing(range: DateRange, dates: &[NaiveDate]) -> Result<Vec<DateRange>> {
    let mut runs = Vec::new();
    let mut next = Some(range.from());
    for date in dates {
        if let (Some(from), Some(to)) = (next, date.pred_opt())
            && from < *date
        {
            runs.push(DateRange::new(from, to)?);
        }
        next = date.succ_opt();
    }
    if let Some(from) = next.filter(|from| *from <= range.to()) {
        runs.push(DateRange::new(from, range.to())?);
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::{TestLake, date};

    fn options(from: &str, to: &str) -> PartitionsOptions {
        PartitionsOptions {
            path: "raw".into(),
            layout: Some("year=%Y/month=%m/day=%d".into()),
            from: date(from),
            to: date(to),
            strategy: Strategy::Guided,
        }
    }

    fn raw(paths: &[&str]) -> TestLake {
        let lake = TestLake::new();
        for path in paths {
            let path = lake.path().join("raw").join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, "xyz").expect("a file");
        }
        lake
    }

    #[test]
    fn a_range_is_found_with_what_it_lacks_and_what_it_cost() {
        let lake = raw(&[
            "year=2023/month=12/day=31/a",
            "year=2024/month=01/day=02/a",
            "year=2024/month=01/day=02/b",
            "year=2024/month=01/day=09/a",
            "year=2024/month=01/other/a",
            "year=2025/month=01/day=01/a",
        ]);
        let report =
            partitions(&lake.workspace(), &options("2024-01-01", "2024-01-05")).expect("found");
        assert_eq!(
            (report.partitions.len(), report.files, report.bytes),
            (1, 2, 6)
        );
        assert_eq!(report.partitions[0].path, "year=2024/month=01/day=02");
        let missing: Vec<String> = report.missing.iter().map(DateRange::to_string).collect();
        assert_eq!(
            missing,
            ["2024-01-01 to 2024-01-01", "2024-01-03 to 2024-01-05"]
        );
        assert_eq!(
            (report.missing_days, report.requests),
            (4, 4),
            "root, year, month, day"
        );
        assert_eq!(
            report.unrecognized_paths,
            ["year=2024/month=01/other"],
            "a date outside the range is none"
        );
    }

    #[test]
    fn a_full_range_lacks_nothing_and_an_empty_one_all() {
        let lake = raw(&["year=2024/month=01/day=01/a", "year=2024/month=01/day=02/a"]);
        let full =
            partitions(&lake.workspace(), &options("2024-01-01", "2024-01-02")).expect("found");
        assert!(full.missing.is_empty());
        let empty =
            partitions(&lake.workspace(), &options("2023-01-01", "2023-12-31")).expect("found");
        assert_eq!((empty.partitions.len(), empty.missing_days), (0, 365));
        let error = partitions(
            &lake.workspace(),
            &PartitionsOptions {
                path: "nowhere".into(),
                ..options("2024-01-01", "2024-01-02")
            },
        );
        assert_eq!(
            error.expect_err("no folder").kind(),
            crate::error::Kind::Usage
        );
    }
}
