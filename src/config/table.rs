//! `[tables.NAME]` of `asof.toml`: one slowly changing table.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{ColumnConfig, check_dates, one_or_several, types};
use crate::domain::dedup::Dedup;
use crate::domain::guard::{Guards, Share};
use crate::domain::placeholders::has_names_in_braces;
use crate::domain::retention::KeepRules;
use crate::error::{Error, Result, toml_key};
use crate::model::DaySpan;
use crate::source::{Dialect, Format, TypeRules};

/// Refuses a word that a setting does not have.
pub(super) fn check_word(setting: &str, given: Option<&String>, words: &[&str]) -> Result<()> {
    let Some(given) = given.filter(|given| !words.contains(&given.as_str())) else {
        return Ok(());
    };
    let others = words[1..].iter().map(|word| format!(", or \"{word}\""));
    let hint = format!("{setting} = \"{}\"{}", words[0], others.collect::<String>());
    Err(Error::usage(format!("{setting} = \"{given}\" is unknown")).hint(hint))
}

/// A program of the user's own, as `asof.toml` names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum HookCommand {
    /// A command line for the shell.
    Line(String),
    /// A program and its arguments.
    Arguments(Vec<String>),
}

impl HookCommand {
    /// The program and its arguments.
    pub fn arguments(&self) -> Vec<String> {
        match self {
            HookCommand::Line(line) => vec!["sh".to_owned(), "-c".to_owned(), line.clone()],
            HookCommand::Arguments(arguments) => arguments.clone(),
        }
    }

    /// Refuses a command that names no program.
    pub(super) fn check(&self) -> Result<()> {
        let is_empty = match self {
            HookCommand::Line(line) => line.trim().is_empty(),
            HookCommand::Arguments(arguments) => {
                arguments.first().is_none_or(|program| program.is_empty())
            }
        };
        match is_empty {
            true => Err(Error::usage("'on_refused' names no program")
                .hint("on_refused = \"./notify.sh\", or [\"./notify.sh\", \"data\"]")),
            false => Ok(()),
        }
    }
}

/// A table for a warehouse: the intervals with more columns.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scd2Config {
    /// Where it goes; by default into the lake.
    pub path: Option<String>,
    /// The column that marks current rows.
    pub current_column: Option<String>,
    /// The column of versions.
    pub version_column: Option<String>,
    /// The column of surrogate keys.
    pub surrogate_key: Option<String>,
    /// The column that marks records of deletions.
    pub deleted_column: Option<String>,
}

/// One slowly changing table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TableConfig {
    /// Where snapshots are taken from: a path, a glob, the URL of a database, or `-`.
    pub source: Option<String>,
    /// The table of the database, if it has another name than this one.
    pub source_table: Option<String>,
    /// A query of the database, in place of a table.
    pub query: Option<String>,
    /// The format of the source, or of copies that another tool writes, if names and first bytes do
    /// not tell.
    pub source_format: Option<Format>,
    /// The key columns.
    #[serde(deserialize_with = "one_or_several")]
    pub key: Vec<String>,
    /// Which row of a key counts, such as `latest by updated_at`, where there are several.
    pub dedup: Option<Dedup>,
    /// Declared types, by column.
    pub types: BTreeMap<String, String>,
    /// `text` to read every other column of CSV as text, or `infer` (default).
    pub csv_types: Option<String>,
    /// How CSV and TSV are written.
    pub csv: Dialect,
    /// `evolve` (default) or `freeze`.
    pub schema: Option<String>,
    /// The fewest rows.
    pub min_rows: Option<u64>,
    /// The largest share of rows that may go.
    pub max_delete: Option<Share>,
    /// The largest share of rows that may change.
    pub max_change: Option<Share>,
    /// The most days for which the rows may have been the same.
    pub max_unchanged: Option<DaySpan>,
    /// The guards of columns, by column.
    pub columns: BTreeMap<String, ColumnConfig>,
    /// What is run when a copy is refused; by default that of the whole file.
    pub on_refused: Option<HookCommand>,
    /// Which copies `asof prune` keeps.
    pub keep: Option<KeepRules>,
    /// How many days before the events' date the label lies.
    pub lag: Option<DaySpan>,
    /// How many days older than the label a snapshot may be.
    pub tolerance: Option<DaySpan>,
    /// `carry` (default), `error` or `split`.
    pub gaps: Option<String>,
    /// The most missing days in a row, with `carry`.
    pub max_gap: Option<u32>,
    /// The name of the column of first dates.
    pub start_column: Option<String>,
    /// The name of the column of ends.
    pub end_column: Option<String>,
    /// `inclusive` (default) or `exclusive`.
    pub end: Option<String>,
    /// `9999-12-31` (default) or `null`.
    pub open_end: Option<String>,
    /// Columns that are left out of the comparison.
    #[serde(deserialize_with = "one_or_several")]
    pub ignore: Vec<String>,
    /// The only columns that are compared.
    #[serde(deserialize_with = "one_or_several")]
    pub track: Vec<String>,
    /// The condition of the rows that intervals are of.
    #[serde(rename = "where")]
    pub condition: Option<String>,
    /// The columns that intervals are of, beside the key.
    #[serde(deserialize_with = "one_or_several")]
    pub select: Vec<String>,
    /// The table for a warehouse that `asof compact` writes beside the intervals.
    pub scd2: Option<Scd2Config>,
    /// The root of dated copies that another tool writes; they are read where they are.
    pub snapshots: Option<String>,
    /// The layout of those copies.
    pub layout: Option<String>,
    /// The column that holds the dates of those copies, if they are rows of the same files.
    pub date_column: Option<String>,
    /// The format of its text; by default `YYYY-MM-DD`.
    pub date_format: Option<String>,
    /// The zone in which the day of its instants lies; by default that of the whole file.
    pub timezone: Option<String>,
}

impl TableConfig {
    /// The limits that snapshots are compared with.
    ///
    /// # Errors
    /// A usage error for a word or a value that is unknown.
    pub fn guards(&self) -> Result<Guards> {
        check_word("schema", self.schema.as_ref(), &["freeze", "evolve"])?;
        Ok(Guards {
            min_rows: self.min_rows.unwrap_or(1),
            max_delete: self.max_delete,
            max_change: self.max_change,
            freeze_schema: self.schema.as_deref() == Some("freeze"),
            max_unchanged: self.max_unchanged,
            columns: self
                .columns
                .iter()
                .map(|(name, column)| column.guard(name))
                .collect::<Result<_>>()?,
        })
    }

    /// The declared types of the table of this name.
    ///
    /// # Errors
    /// A usage error for a type that is unknown.
    pub fn type_rules(&self, name: &str) -> Result<TypeRules> {
        types(
            &self.types,
            self.csv_types.as_ref(),
            &self.csv,
            format!("tables.{}", toml_key(name)),
        )
    }

    /// Whether the source has a state for each date: a placeholder of the date stands in it.
    pub fn has_source_of_dates(&self) -> bool {
        let written = [&self.source, &self.source_table, &self.query];
        let mut written = written.into_iter().flatten();
        written.any(|text| has_names_in_braces(text))
    }

    /// Refuses a table or query of a database without the database.
    fn check_source(&self) -> Result<()> {
        let of_databases = [("source_table", &self.source_table), ("query", &self.query)];
        let mut given = of_databases.iter().filter(|(_, given)| given.is_some());
        match (given.next(), given.next(), &self.source) {
            (Some(_), Some(_), _) => Err(Error::usage(
                "'source_table' and 'query' contradict each other",
            )),
            (Some((name, _)), None, None) => Err(Error::usage(format!(
                "'{name}' requires 'source', the URL of a database"
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses options that contradict each other.
    pub(super) fn check(&self, name: &str) -> Result<()> {
        self.guards().and(self.type_rules(name).map(|_| ()))?;
        self.on_refused.iter().try_for_each(HookCommand::check)?;
        self.check_source()?;
        if self.keep.as_ref().is_some_and(KeepRules::is_empty) {
            return Err(Error::usage("'keep' has no rule")
                .hint("keep = { last = 7, daily = 30, monthly = 24 }"));
        }
        self.check_copies()?;
        self.check_intervals()?;
        check_dates(
            self.date_column.as_ref(),
            self.date_format.as_ref(),
            self.timezone.as_ref(),
        )
    }

    /// Refuses words about intervals that are unknown, or contradict each other.
    fn check_intervals(&self) -> Result<()> {
        check_word("gaps", self.gaps.as_ref(), &["carry", "error", "split"])?;
        check_word("end", self.end.as_ref(), &["inclusive", "exclusive"])?;
        check_word("open_end", self.open_end.as_ref(), &["9999-12-31", "null"])?;
        match self.gaps.as_deref() {
            Some(gaps @ ("error" | "split")) if self.max_gap.is_some() => Err(Error::usage(
                format!("'max_gap' is for gaps = \"carry\", and gaps is \"{gaps}\""),
            )
            .hint("leave out 'max_gap', or gaps = \"carry\"")),
            _ => Ok(()),
        }
    }

    /// Refuses options of copies that another tool writes without those copies, and the reverse.
    fn check_copies(&self) -> Result<()> {
        let is_told = self.layout.is_some() || self.date_column.is_some();
        if self.snapshots.is_some() && !is_told {
            return Err(Error::usage(
                "'snapshots' needs a 'layout' or a 'date_column'",
            ));
        }
        if self.snapshots.is_none() && is_told {
            let given = if self.layout.is_some() {
                "layout"
            } else {
                "date_column"
            };
            return Err(Error::usage(format!("'{given}' requires 'snapshots'")));
        }
        let of_own_copies = [
            ("columns", !self.columns.is_empty()),
            ("max_unchanged", self.max_unchanged.is_some()),
            ("on_refused", self.on_refused.is_some()),
            ("keep", self.keep.is_some()),
        ];
        match of_own_copies.iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) if self.snapshots.is_some() => Err(Error::usage(format!(
                "'{name}' is for copies that asof takes, and 'snapshots' are those of another tool"
            ))
            .hint(format!("leave out '{name}', or 'snapshots'"))),
            _ => Ok(()),
        }
    }
}
