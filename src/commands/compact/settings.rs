//! What a compaction is asked for, and the settings that this comes to: the command line decides,
//! then the configuration, then the intervals that exist, then the defaults.

use chrono::NaiveDate;

use super::scd2::Scd2Options;
use crate::commands::engine::Engine;
use crate::config::TableConfig;
use crate::domain::compared_columns::Comparison;
use crate::domain::dedup::Dedup;
use crate::domain::gaps::GapPolicy;
use crate::domain::interval::Convention;
use crate::engine::compaction::Settings;
use crate::engine::selection::Selection;
use crate::error::{Error, Result};
use crate::model::DateRange;
use crate::source::Format;
use crate::storage::parquet::footer::IntervalsFooter;

/// What the command line asks for; what it leaves open, the configuration, then the intervals that
/// exist, then the defaults decide.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CompactOptions {
    /// The root of external snapshots.
    pub snapshots: Option<String>,
    /// Their layout.
    pub layout: Option<String>,
    /// The column that tells the date of each row, where there is not a file for each date.
    pub date_column: Option<String>,
    /// The format of its text.
    pub date_format: Option<String>,
    /// The zone in which the day of its instants lies.
    pub timezone: Option<String>,
    /// The format of copies of another tool.
    pub source_format: Option<Format>,
    /// The key columns.
    pub key: Vec<String>,
    /// Which row of a key counts in copies of another tool, if not that of the configuration.
    pub dedup: Option<Dedup>,
    /// Where the intervals go.
    pub out: Option<String>,
    /// The first date.
    pub from: Option<NaiveDate>,
    /// The last date.
    pub to: Option<NaiveDate>,
    /// `carry`, `error` or `split`.
    pub gaps: Option<String>,
    /// The most missing days in a row.
    pub max_gap: Option<u32>,
    /// The name of the column of first dates.
    pub start_column: Option<String>,
    /// The name of the column of ends.
    pub end_column: Option<String>,
    /// `inclusive` or `exclusive`.
    pub end: Option<String>,
    /// `9999-12-31` or `null`.
    pub open_end: Option<String>,
    /// Columns that are left out of the comparison.
    pub ignore: Vec<String>,
    /// The only columns that are compared.
    pub track: Vec<String>,
    /// The condition that rows meet; the others count as absent.
    pub condition: Option<String>,
    /// The only columns beside the key.
    pub select: Vec<String>,
    /// The table for a warehouse that is written beside the intervals.
    pub scd2: Scd2Options,
    /// What compares the copies.
    pub engine: Engine,
    /// Whether what exists is disregarded.
    pub full: bool,
    /// Whether nothing is to be written.
    pub dry_run: bool,
}

impl CompactOptions {
    /// The range of dates, if one is asked for.
    pub(super) fn range(&self) -> Result<Option<DateRange>> {
        DateRange::between(self.from, self.to)
    }
}

/// Decides the settings of a compaction.
///
/// # Errors
/// A usage error for an unknown word, and for options that exclude one another.
pub(super) fn decide(
    key: &[String],
    options: &CompactOptions,
    config: &TableConfig,
    existing: Option<&IntervalsFooter>,
) -> Result<Settings> {
    let comparison = decide_comparison(key, options, config, existing)?;
    let selection = decide_selection(key, options, config, existing);
    if let Some(name) = comparison.track.iter().find(|name| !selection.keeps(name)) {
        return Err(Error::usage(format!(
            "'track' names the column '{name}', which 'select' leaves out"
        ))
        .hint(format!("--select {},{name}", selection.select.join(","))));
    }
    Ok(Settings {
        policy: decide_policy(options, config, existing)?,
        convention: decide_convention(options, config, existing)?,
        comparison,
        selection,
    })
}

/// The condition and the columns, each by itself. An empty one, as in --where '', takes back what
/// an earlier run was told.
fn decide_selection(
    key: &[String],
    options: &CompactOptions,
    config: &TableConfig,
    existing: Option<&IntervalsFooter>,
) -> Selection {
    let condition = options.condition.as_ref().or(config.condition.as_ref());
    let condition = condition
        .or_else(|| existing.and_then(|footer| footer.condition.as_ref()))
        .map(|condition| condition.trim());
    let condition = condition
        .filter(|condition| !condition.is_empty())
        .map(str::to_owned);
    let known = existing.map_or(&[] as &[String], |footer| &footer.select);
    let select = [&options.select, &config.select]
        .into_iter()
        .find(|select| !select.is_empty())
        .map_or(known, Vec::as_slice);
    let select: Vec<String> = select
        .iter()
        .filter(|column| !column.is_empty())
        .cloned()
        .collect();
    Selection::new(condition, &select, key)
}

fn decide_policy(
    options: &CompactOptions,
    config: &TableConfig,
    existing: Option<&IntervalsFooter>,
) -> Result<GapPolicy> {
    let given = options.gaps.is_some()
        || config.gaps.is_some()
        || options.max_gap.is_some()
        || config.max_gap.is_some();
    match existing {
        Some(footer) if !given => Ok(footer.gaps.read()),
        _ => policy(
            options.gaps.as_deref().or(config.gaps.as_deref()),
            options.max_gap.or(config.max_gap),
        ),
    }
}

/// Reads a gap policy as the command line and the configuration write it.
fn policy(name: Option<&str>, max_gap: Option<u32>) -> Result<GapPolicy> {
    match (name, max_gap) {
        (None | Some("carry"), max_gap) => Ok(GapPolicy::Carry { max_gap }),
        (Some("error"), None) => Ok(GapPolicy::Error),
        (Some("split"), None) => Ok(GapPolicy::Split),
        (Some("error" | "split"), Some(_)) => Err(Error::usage("--max-gap requires --gaps carry")),
        (Some(other), _) => Err(Error::usage(format!("invalid gap policy '{other}'"))
            .hint("--gaps carry, --gaps error, or --gaps split")),
    }
}

fn decide_convention(
    options: &CompactOptions,
    config: &TableConfig,
    existing: Option<&IntervalsFooter>,
) -> Result<Convention> {
    let wire = existing.map(|footer| &footer.convention);
    let pick = |given: &Option<String>,
                configured: &Option<String>,
                was: Option<&String>,
                default: &str| {
        given
            .as_ref()
            .or(configured.as_ref())
            .or(was)
            .cloned()
            .unwrap_or_else(|| default.to_owned())
    };
    let end = pick(
        &options.end,
        &config.end,
        wire.map(|wire| &wire.end),
        "inclusive",
    );
    let open_end = pick(
        &options.open_end,
        &config.open_end,
        wire.map(|wire| &wire.open_end),
        "9999-12-31",
    );
    if !["inclusive", "exclusive"].contains(&end.as_str()) {
        return Err(
            Error::usage(format!("an end is inclusive or exclusive, and not '{end}'"))
                .hint("--end inclusive"),
        );
    }
    if !["9999-12-31", "null"].contains(&open_end.as_str()) {
        return Err(Error::usage(format!(
            "an open end is 9999-12-31 or null, and not '{open_end}'"
        ))
        .hint("--open-end null"));
    }
    Ok(Convention {
        start_column: pick(
            &options.start_column,
            &config.start_column,
            wire.map(|wire| &wire.start_column),
            "active_start",
        ),
        end_column: pick(
            &options.end_column,
            &config.end_column,
            wire.map(|wire| &wire.end_column),
            "active_end",
        ),
        exclusive: end == "exclusive",
        open_null: open_end == "null",
    })
}

fn decide_comparison(
    key: &[String],
    options: &CompactOptions,
    config: &TableConfig,
    existing: Option<&IntervalsFooter>,
) -> Result<Comparison> {
    // The two say one thing together: whoever gives one of them does not mean the other one of an
    // earlier run.
    let given = [
        (options.ignore.clone(), options.track.clone()),
        (config.ignore.clone(), config.track.clone()),
        existing
            .map(|footer| (footer.ignore.clone(), footer.track.clone()))
            .unwrap_or_default(),
    ];
    let (mut ignore, mut track) = given
        .into_iter()
        .find(|(ignore, track)| !ignore.is_empty() || !track.is_empty())
        .unwrap_or_default();
    // An empty name, as in --ignore '', takes back what an earlier run was told.
    ignore.retain(|column| !column.is_empty());
    track.retain(|column| !column.is_empty());
    if !ignore.is_empty() && !track.is_empty() {
        return Err(Error::usage(
            "'ignore' and 'track' exclude each other: one names the columns not to compare, the \
             other the only ones to compare",
        ));
    }
    if let Some(key) = key.iter().find(|key| ignore.contains(key)) {
        return Err(Error::usage(format!(
            "'{key}' is a key column, and cannot be ignored"
        )));
    }
    Ok(Comparison {
        key: key.to_owned(),
        ignore,
        track,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::TestLake;
    use crate::engine::intervals::Intervals;
    use crate::storage::lake::location::Location;

    #[test]
    fn settings_are_kept_until_others_are_given() {
        let lake = TestLake::new();
        for day in ["2024-01-01", "2024-01-02", "2024-01-05"] {
            lake.take(day, &format!("id,price,loaded\n1,10,{day}\n"));
        }
        let text = |text: &str| Some(text.to_owned());
        let made = |options: &CompactOptions| {
            lake.compact_with("item", options);
            let made = Intervals::open(&Location::local(lake.intervals()))
                .expect("they open")
                .expect("they are there")
                .footer;
            (
                made.convention,
                made.gaps,
                made.ignore,
                made.track,
                made.intervals,
            )
        };
        let first = made(&CompactOptions {
            end: text("exclusive"),
            open_end: text("null"),
            start_column: text("valid_from"),
            end_column: text("valid_to"),
            gaps: text("split"),
            ignore: vec!["loaded".into()],
            ..CompactOptions::default()
        });
        assert_eq!(first.4, 2);
        for full in [false, true] {
            assert_eq!(
                made(&CompactOptions {
                    full,
                    ..CompactOptions::default()
                }),
                first,
                "{full}"
            );
        }
        let tracked = made(&CompactOptions {
            full: true,
            track: vec!["price".into()],
            ..CompactOptions::default()
        });
        assert_eq!(
            (&tracked.2, &tracked.3, &tracked.0),
            (&vec![], &vec!["price".to_owned()], &first.0)
        );
        let reset = made(&CompactOptions {
            full: true,
            end: text("inclusive"),
            gaps: text("carry"),
            ignore: vec![String::new()],
            ..CompactOptions::default()
        });
        assert_eq!(
            (
                reset.0.end.as_str(),
                reset.1.gaps.as_str(),
                reset.2.len() + reset.3.len(),
                reset.4
            ),
            ("inclusive", "carry", 0, 3)
        );
        assert_eq!(
            (reset.0.open_end.as_str(), reset.0.start_column.as_str()),
            ("null", "valid_from")
        );
    }
}
