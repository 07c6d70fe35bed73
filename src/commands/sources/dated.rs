//! Sources that have a state for each date: `{date}` stands in their path, their URL, the name of
//! their table, or their query. A snapshot of a past date then has the state of that day.

use chrono::{Days, NaiveDate};

use super::{GivenSource, STANDARD_INPUT};
use crate::commands::Workspace;
use crate::config::TableConfig;
use crate::domain::layout::Layout;
use crate::domain::placeholders::{bind_name, dated_path};
use crate::error::{Error, Result};
use crate::model::{DateRange, TableName};
use crate::source::is_database;
use crate::storage::lake::location::Location;
use crate::storage::lake::partitions::find_if_there;

/// How far from a date others are looked for that have files.
const DAYS_AROUND: u64 = 366;
/// How many of them are told.
const TOLD: usize = 5;

/// A source as it is written, and as it is on a date.
pub(in crate::commands) struct WrittenSource {
    /// As the user wrote it.
    pub(super) written: String,
    /// The path or URL on the date. The values of variables are not in it.
    place: String,
    /// The same with the values of variables, which may be secrets.
    pub(super) expanded: String,
    /// The table or query of a database on the date, as the options or asof.toml have it.
    pub(super) relation: Option<WrittenRelation>,
    /// Whether the date stands in any of these.
    is_dated: bool,
    /// Whether the command line names it.
    is_given: bool,
}

/// What is read of a database.
pub(in crate::commands) enum WrittenRelation {
    /// A table or view.
    Table(String),
    /// A query.
    Query(String),
}

impl WrittenRelation {
    fn of(given: &GivenSource, config: &TableConfig) -> Option<Self> {
        let query = |query: &Option<String>| query.clone().map(WrittenRelation::Query);
        let table = |table: &Option<String>| table.clone().map(WrittenRelation::Table);
        query(&given.query)
            .or_else(|| table(&given.table))
            .or_else(|| query(&config.query))
            .or_else(|| table(&config.source_table))
    }

    /// The same on a date, and whether the date stands in it.
    fn on(self, url: &str, date: NaiveDate) -> Result<(Self, bool)> {
        match self {
            WrittenRelation::Table(table) => {
                let what = format!("the table '{table}'");
                let bound = bind_name(&table, date, &what)?;
                let is_dated = bound.is_some();
                Ok((WrittenRelation::Table(bound.unwrap_or(table)), is_dated))
            }
            WrittenRelation::Query(query) => {
                let bound = query_on(&query, url, date)?;
                let is_dated = bound != query;
                Ok((WrittenRelation::Query(bound), is_dated))
            }
        }
    }
}

#[cfg(feature = "databases")]
fn query_on(query: &str, url: &str, date: NaiveDate) -> Result<String> {
    use crate::domain::placeholders::JobDay;
    use crate::domain::placeholders::sql::{SqlOf, bind};

    let of = match url.split(':').next() {
        Some("sqlite") => SqlOf::Sqlite,
        Some("mysql" | "mariadb") => SqlOf::Mysql,
        _ => SqlOf::Postgres,
    };
    bind(query, JobDay::utc(date), of)
}

#[cfg(not(feature = "databases"))]
fn query_on(query: &str, _: &str, _: NaiveDate) -> Result<String> {
    Ok(query.to_owned())
}

impl WrittenSource {
    /// The source of a table, the one that is `given` or that of asof.toml; nothing if it has none.
    ///
    /// # Errors
    /// A usage error for a name in braces that is not a placeholder, and for a variable that is not
    /// set.
    pub(in crate::commands) fn of(
        workspace: &Workspace<'_>,
        name: &TableName,
        date: NaiveDate,
        given: &GivenSource,
    ) -> Result<Option<Self>> {
        let config = workspace.table_config(name);
        let is_given = given.place.is_some();
        let Some(written) = given.place.clone().or_else(|| config.source.clone()) else {
            return Ok(None);
        };
        let within = |error: Error| error.within(format!("table {name}, {date}"));
        let what = format!("the source '{written}'");
        let bound = bind_name(&written, date, &what).map_err(within)?;
        let mut is_dated = bound.is_some();
        let place = bound.unwrap_or_else(|| written.clone());
        let expanded = match is_given {
            true => place.clone(),
            false => workspace.configured_url(&place)?,
        };
        let mut relation = WrittenRelation::of(given, &config);
        if is_database(&expanded)
            && let Some(of_all) = relation
        {
            let (on_date, has_date) = of_all.on(&expanded, date).map_err(within)?;
            is_dated |= has_date;
            relation = Some(on_date);
        }
        Ok(Some(WrittenSource {
            written,
            place,
            expanded,
            relation,
            is_dated,
            is_given,
        }))
    }

    /// The source on the date, if it has a state for each; never with a secret.
    pub(in crate::commands) fn of_date(&self) -> Option<String> {
        self.is_dated.then(|| self.place.clone())
    }

    /// The URL of the database that it is, and its table, if that is not a query; nothing of files.
    pub(in crate::commands) fn database(&self, name: &TableName) -> Option<(&str, Option<String>)> {
        let table = match &self.relation {
            Some(WrittenRelation::Query(_)) => None,
            Some(WrittenRelation::Table(table)) => Some(table.clone()),
            None => Some(name.to_string()),
        };
        is_database(&self.expanded).then_some((self.expanded.as_str(), table))
    }

    pub(super) fn is_standard_input(&self) -> bool {
        self.written == STANDARD_INPUT
    }

    /// Where the files of the date are.
    pub(super) fn location(&self, workspace: &Workspace<'_>) -> Result<Location> {
        self.located(workspace, &self.place)
    }

    fn located(&self, workspace: &Workspace<'_>, place: &str) -> Result<Location> {
        match self.is_given {
            true => workspace.here(place),
            false => workspace.configured(place),
        }
    }

    /// The failure to find files of the date, with dates that have some.
    pub(super) fn with_dates(
        &self,
        workspace: &Workspace<'_>,
        date: NaiveDate,
        error: Error,
    ) -> Error {
        let mut dates = self.dates_around(workspace, date);
        if dates.is_empty() {
            return error;
        }
        dates.sort_by_key(|other| (*other - date).num_days().abs());
        let which = if dates.len() > TOLD {
            "nearest dates"
        } else {
            "dates"
        };
        dates.truncate(TOLD);
        dates.sort();
        let dates: Vec<String> = dates.iter().map(NaiveDate::to_string).collect();
        error.hint(format!("{which} with files: {}", dates.join(", ")))
    }

    /// The latest date that has files and is not after another.
    pub(in crate::commands) fn latest_date(
        &self,
        workspace: &Workspace<'_>,
        date: NaiveDate,
    ) -> Option<NaiveDate> {
        let dates = self.dates_around(workspace, date).into_iter();
        dates.filter(|found| *found <= date).max()
    }

    /// The dates about one that have files; none if the path is not one that can be searched.
    fn dates_around(&self, workspace: &Workspace<'_>, date: NaiveDate) -> Vec<NaiveDate> {
        let find = || {
            let files = self.written.strip_prefix("sqlite:").map_or_else(
                || self.written.as_str(),
                |path| path.strip_prefix("//").unwrap_or(path),
            );
            let path = dated_path(files)?;
            let layout = Layout::parse(&path.layout).ok()?;
            let around = Days::new(DAYS_AROUND);
            let from = date.checked_sub_days(around)?;
            let range = DateRange::new(from, date.checked_add_days(around)?).ok()?;
            let root = self.located(workspace, &path.above).ok()?;
            let found = find_if_there(&root, &layout, Some(range)).ok()?;
            let later = Days::new(path.days_before);
            let dates = found.partitions.into_keys();
            Some(
                dates
                    .filter_map(|date| date.checked_add_days(later))
                    .collect(),
            )
        };
        find().unwrap_or_default()
    }
}

/// Whether a table's source has a state for each date.
///
/// # Errors
/// As [`WrittenSource::of`].
pub(in crate::commands) fn is_dated(
    workspace: &Workspace<'_>,
    name: &TableName,
    date: NaiveDate,
    given: &GivenSource,
) -> Result<bool> {
    let source = WrittenSource::of(workspace, name, date, given)?;
    Ok(source.is_some_and(|source| source.is_dated))
}
