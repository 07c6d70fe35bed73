//! `asof.toml`, on the wire: what a project says once so that commands need not.
//!
//! Relative paths are taken from the folder of the file. `${VAR}` takes a value from the
//! environment ([`expand_path`]); what is shown in messages and footers is the text with `${VAR}`
//! in it, so that a secret never gets there.
//!
//! `docs/asof.schema.json` describes the file for editors. It is written by hand, and
//! `tests/config_schema` compares it with these types in both directions.

mod columns;
mod openlineage;
mod row_limits;
mod spark;
mod table;
mod variables;
mod wrong;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono_tz::Tz;
use serde::Deserialize;

pub use self::columns::ColumnConfig;
pub use self::openlineage::OpenLineageConfig;
pub use self::row_limits::LimitsConfig;
pub use self::spark::SparkConfig;
use self::table::check_word;
pub use self::table::{HookCommand, Scd2Config, TableConfig};
use self::variables::expand;
pub use self::variables::{expand_path, with_defaults};
use crate::domain::join::JoinKind;
use crate::domain::type_names::{DECLARABLE, parse_type};
use crate::error::{Context, Error, Result, toml_key};
use crate::memory::MemoryBudget;
use crate::secret::Secret;
use crate::source::{Dialect, Format, TypeRules};

/// The name of the file.
pub const FILE_NAME: &str = "asof.toml";

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The lake.
    pub lake: Option<String>,
    /// The zone in which "today" is decided.
    pub timezone: Option<String>,
    /// What is run when a copy of a table is refused, if the table says nothing else.
    pub on_refused: Option<HookCommand>,
    /// How object stores are reached: options by bucket (`s3://shop`) or by service (`s3`, `gs`,
    /// `az`).
    pub stores: BTreeMap<String, BTreeMap<String, StoreOption>>,
    /// How long a row and a key may be, and how many columns there may be.
    pub limits: LimitsConfig,
    /// Where events of OpenLineage are sent.
    pub openlineage: OpenLineageConfig,
    /// The cluster of `--engine spark`.
    pub spark: SparkConfig,
    /// Slowly changing tables, by name.
    pub tables: BTreeMap<String, TableConfig>,
    /// Event tables, by name.
    pub events: BTreeMap<String, EventsConfig>,
    /// Backfills, by name.
    pub jobs: BTreeMap<String, JobConfig>,
    /// The folder from which relative paths are taken.
    #[serde(skip)]
    pub base: PathBuf,
    /// The file itself; nothing if there is none.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

/// The value of a store's option, which may be written as text, a number or a truth value.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum StoreOption {
    /// Text, in which `${VAR}` stands for a variable of the environment.
    Text(Secret),
    /// A truth value.
    Truth(bool),
    /// A number.
    Number(i64),
}

impl StoreOption {
    /// The value as text, with the values of variables in their places.
    fn expanded(&self, variable: &dyn Fn(&str) -> Option<Secret>) -> Result<Secret> {
        match self {
            StoreOption::Text(text) => {
                Ok(expand(text.expose(), "the value", variable, |_, _, _, _| ())?.into())
            }
            StoreOption::Truth(truth) => Ok(truth.to_string().into()),
            StoreOption::Number(number) => Ok(number.to_string().into()),
        }
    }
}

/// One table of events, whose dates the layout or a column tells.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventsConfig {
    /// The root of the partitions.
    pub path: String,
    /// Their layout.
    pub layout: String,
    /// The column that holds the date of each event.
    pub date_column: Option<String>,
    /// The format of its text; by default `YYYY-MM-DD`.
    pub date_format: Option<String>,
    /// The zone in which the day of its instants lies; by default that of the whole file.
    pub timezone: Option<String>,
    /// Their format, if names do not tell.
    pub format: Option<Format>,
    /// Declared types, by column.
    pub types: BTreeMap<String, String>,
    /// `text` to read every other column of CSV as text, or `infer` (default).
    pub csv_types: Option<String>,
    /// How CSV and TSV are written.
    pub csv: Dialect,
}

/// One backfill: SQL, or a join.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobConfig {
    /// The query.
    pub sql: Option<String>,
    /// A file that holds the query.
    pub sql_file: Option<String>,
    /// A program to run for each date, with its arguments.
    pub command: Vec<String>,
    /// The events to join, or those that the program is given.
    #[serde(deserialize_with = "one_or_several")]
    pub events: Vec<String>,
    /// The tables, or their histories, that the program is given.
    #[serde(deserialize_with = "one_or_several")]
    pub tables: Vec<String>,
    /// Files whose content is a part of the program.
    #[serde(deserialize_with = "one_or_several")]
    pub inputs: Vec<String>,
    /// The longest that the program may run, such as `10m`.
    pub timeout: Option<String>,
    /// The table to join them to.
    pub table: Option<String>,
    /// Pairs of columns, `event_column=table_column`, or one name for both.
    #[serde(deserialize_with = "one_or_several")]
    pub on: Vec<String>,
    /// What the join keeps.
    pub how: Option<JoinKind>,
    /// A condition over the table's columns.
    #[serde(rename = "where")]
    pub condition: Option<String>,
    /// The table's columns to add.
    #[serde(deserialize_with = "one_or_several")]
    pub select: Vec<String>,
    /// What the query calls relations, each with the relation's own name.
    pub names: BTreeMap<String, String>,
    /// The zone in which the day of `{start}` and `{end}` lies; by default that of the whole file.
    pub timezone: Option<String>,
    /// The root of the outputs.
    pub output: String,
    /// The layout of the outputs.
    pub layout: Option<String>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// A failure if it cannot be read; a usage error with line and column if it is wrong.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .io_context(|| format!("cannot read '{}'", path.display()))?;
        let mut config: Config =
            toml::from_str(&text).map_err(|error| wrong::wrong(path, &text, &error))?;
        config.base = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."))
            .to_owned();
        config.file = Some(path.to_owned());
        config
            .check()
            .map_err(|error| error.within(format!("'{}'", path.display())))?;
        Ok(config)
    }

    /// The nearest file, from a folder upward.
    pub fn nearest(folder: &Path) -> Option<PathBuf> {
        folder
            .ancestors()
            .map(|folder| folder.join(FILE_NAME))
            .find(|path| path.is_file())
    }

    fn check(&self) -> Result<()> {
        for name in self
            .tables
            .keys()
            .chain(self.events.keys())
            .chain(self.jobs.keys())
        {
            name.parse::<crate::model::TableName>()?;
        }
        if let Some(both) = self
            .tables
            .keys()
            .find(|name| self.events.contains_key(*name))
        {
            return Err(Error::usage(format!(
                "'{both}' is the name of a table and of events, and SQL could not distinguish them"
            )));
        }
        for (name, table) in &self.tables {
            let within = |error: Error| error.within(format!("[tables.{name}]"));
            table.check(name).map_err(within)?;
        }
        for (name, events) in &self.events {
            Self::check_events(name, events)
                .map_err(|error| error.within(format!("[events.{name}]")))?;
        }
        for (name, job) in &self.jobs {
            let within = |error: Error| error.within(format!("[jobs.{name}]"));
            job.zone(self).map_err(within)?;
            job.check().map_err(within)?;
        }
        self.openlineage.check()?;
        self.on_refused.iter().try_for_each(HookCommand::check)?;
        self.limits.limits(MemoryBudget::default())?;
        self.zone().map(|_| ())
    }

    /// Refuses options of events that contradict each other.
    fn check_events(name: &str, events: &EventsConfig) -> Result<()> {
        events.type_rules(name)?;
        // Types alone are those of events that the command line places.
        let is_told = !events.layout.is_empty() || events.date_column.is_some();
        if !events.path.is_empty() && !is_told {
            return Err(Error::usage("'path' needs a 'layout' or a 'date_column'"));
        }
        if events.path.is_empty() && is_told {
            let given = if events.layout.is_empty() {
                "date_column"
            } else {
                "layout"
            };
            return Err(Error::usage(format!("'{given}' requires 'path'")));
        }
        check_dates(
            events.date_column.as_ref(),
            events.date_format.as_ref(),
            events.timezone.as_ref(),
        )?;
        let says_types =
            !events.types.is_empty() || events.csv_types.is_some() || !events.csv.is_default();
        if events.path.is_empty() && events.format.is_none() && !says_types {
            return Err(Error::usage("'path' is missing"));
        }
        Ok(())
    }

    /// The options of stores as text, with the values of variables in their places.
    ///
    /// # Errors
    /// A usage error for a variable that is not set.
    pub fn store_options(
        &self,
        variable: &dyn Fn(&str) -> Option<Secret>,
    ) -> Result<BTreeMap<String, BTreeMap<String, Secret>>> {
        let expand = |section: &str, options: &BTreeMap<String, StoreOption>| {
            let expanded = options.iter().map(|(key, value)| {
                let value = value
                    .expanded(variable)
                    .map_err(|error| error.within(format!("[stores.{section}], '{key}'")))?;
                Ok((key.clone(), value))
            });
            expanded.collect::<Result<_>>()
        };
        self.stores
            .iter()
            .map(|(section, options)| {
                let options = expand(section, options)?;
                Ok((section.trim_end_matches('/').to_owned(), options))
            })
            .collect()
    }

    /// The zone in which "today" is decided.
    ///
    /// # Errors
    /// A usage error for a zone that is unknown.
    pub fn zone(&self) -> Result<Tz> {
        self.timezone.as_deref().map_or(Ok(Tz::UTC), zone)
    }
}

/// Refuses what says how dates are written, if no column holds them.
fn check_dates(
    column: Option<&String>,
    format: Option<&String>,
    timezone: Option<&String>,
) -> Result<()> {
    timezone.map(|name| zone(name)).transpose()?;
    let of_column = [("date_format", format), ("timezone", timezone)];
    match of_column
        .iter()
        .find(|(_, given)| given.is_some() && column.is_none())
    {
        Some((name, _)) => Err(Error::usage(format!("'{name}' requires 'date_column'"))),
        None => Ok(()),
    }
}

/// A time zone by its name.
///
/// # Errors
/// A usage error for a zone that is unknown.
pub fn zone(name: &str) -> Result<Tz> {
    name.parse().map_err(|_| {
        let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        let what = format!("timezone '{name}' is unknown");
        Error::usage(what).hint_nearest(name, names, || {
            "a name of the IANA time zone database, such as Europe/Berlin".to_owned()
        })
    })
}

impl JobConfig {
    /// Refuses options of one kind of job beside those of another.
    fn check(&self) -> Result<()> {
        let is_command = !self.command.is_empty();
        let kinds = [
            self.sql.is_some(),
            self.sql_file.is_some(),
            self.table.is_some(),
            is_command,
        ];
        if kinds.iter().filter(|given| **given).count() > 1 {
            return Err(Error::usage(
                "a job has one of 'sql', 'sql_file', 'table' and 'command'",
            ));
        }
        let of_commands = [
            ("tables", !self.tables.is_empty()),
            ("inputs", !self.inputs.is_empty()),
            ("timeout", self.timeout.is_some()),
        ];
        let of_joins = [
            ("on", !self.on.is_empty()),
            ("how", self.how.is_some()),
            ("where", self.condition.is_some()),
            ("select", !self.select.is_empty()),
        ];
        let wrong = if is_command {
            of_joins.as_slice()
        } else {
            of_commands.as_slice()
        };
        match wrong.iter().find(|(_, given)| *given) {
            Some((name, _)) if is_command => Err(Error::usage(format!(
                "'{name}' applies to joins only; this job is a command"
            ))),
            Some((name, _)) => Err(Error::usage(format!("'{name}' requires 'command'"))),
            None => Ok(()),
        }
    }

    /// The zone in which the job's days lie, in a file with a zone of its own.
    ///
    /// # Errors
    /// A usage error for a zone that is unknown.
    pub fn zone(&self, config: &Config) -> Result<Tz> {
        self.timezone.as_deref().map_or_else(|| config.zone(), zone)
    }
}

fn types(
    declared: &BTreeMap<String, String>,
    csv_types: Option<&String>,
    csv: &Dialect,
    section: String,
) -> Result<TypeRules> {
    check_word("csv_types", csv_types, &["text", "infer"])?;
    csv.check()?;
    let mut rules = TypeRules {
        csv_as_text: csv_types.is_some_and(|types| types == "text"),
        section,
        csv: Arc::new(csv.clone()),
        ..TypeRules::default()
    };
    for (column, name) in declared {
        let data_type = parse_type(name).ok_or_else(|| {
            Error::usage(format!("column '{column}': '{name}' is not a type"))
                .hint(format!("the types are {DECLARABLE}"))
        })?;
        rules.declared.insert(column.clone(), data_type);
    }
    Ok(rules)
}

impl EventsConfig {
    /// The declared types of the events of this name.
    ///
    /// # Errors
    /// A usage error for a type that is unknown.
    pub fn type_rules(&self, name: &str) -> Result<TypeRules> {
        types(
            &self.types,
            self.csv_types.as_ref(),
            &self.csv,
            format!("events.{}", toml_key(name)),
        )
    }
}

/// One text, or a list of them.
fn one_or_several<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    struct Texts;

    impl<'de> serde::de::Visitor<'de> for Texts {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a string or an array of strings")
        }

        fn visit_str<E>(self, one: &str) -> Result<Self::Value, E> {
            Ok(vec![one.to_owned()])
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            Deserialize::deserialize(serde::de::value::SeqAccessDeserializer::new(list))
        }
    }
    deserializer.deserialize_any(Texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DaySpan;

    fn load(text: &str) -> Result<Config> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE_NAME);
        std::fs::write(&path, text).expect("written");
        Config::load(&path)
    }

    #[test]
    fn the_file_of_the_design_reads() {
        let config = load(
            "lake = 'lake'\ntimezone = 'Europe/Berlin'\n[tables.item]\nsource = 'item.csv'\nkey = \
             ['id']\nmax_delete = '20%'\nlag = '1d'\n\
             [events.item_events]\npath = 'raw'\nlayout = 'year=%Y/month=%m/day=%d'\n\
             [jobs.active]\nsql = 'select * from item_events'\noutput = 'out'\n",
        )
        .expect("it reads");
        assert_eq!(config.tables["item"].lag, Some(DaySpan(1)));
        assert_eq!(config.zone().expect("a zone"), Tz::Europe__Berlin);
    }

    #[test]
    fn one_name_does_where_a_list_is_asked_for() {
        let one = load(
            "[tables.a]\nkey = 'id'\nignore = 'x'\nselect = 'y'\n\
             [jobs.a]\ntable = 'a'\nevents = 'e'\non = 'item=id'\nselect = 'y'\noutput = 'o'\n",
        )
        .expect("it reads");
        let (table, job) = (&one.tables["a"], &one.jobs["a"]);
        assert_eq!(
            [
                &table.key,
                &table.ignore,
                &table.select,
                &job.on,
                &job.select
            ],
            [&["id"], &["x"], &["y"], &["item=id"], &["y"]]
        );
        let tracked = load("[tables.a]\ntrack = 'x'\n").expect("it reads");
        assert_eq!(tracked.tables["a"].track, ["x"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |text: &str| load(text).expect_err("wrong").to_string();
        assert!(message("[tables.item]\nkeys = ['id']\n").contains("unknown field `keys`"));
        assert!(
            message("timezone = 'Europe/Berln'\n").contains("timezone 'Europe/Berln' is unknown")
        );
        assert!(
            message("[tables.a]\n[events.a]\npath='x'\nlayout='%F'\n")
                .contains("the name of a table and of events")
        );
        assert!(message("[tables.a]\nmax_delete = '20'\n").contains("'20' is not a share of rows"));
        assert!(
            message("[tables.a]\ndedup = 'first by x'\n")
                .contains("'first by x' is not a valid dedup rule")
        );
        assert!(
            message("[tables.a]\ntypes = { x = 'number' }\n").contains("'number' is not a type")
        );
        let hints = |text: &str| load(text).expect_err("it is wrong").hints().to_owned();
        assert_eq!(
            hints("[tables.a]\nkeys = ['id']\n"),
            ["did you mean 'key'?"]
        );
        assert_eq!(hints("[jobs.a]\nout = 'x'\n"), ["did you mean 'output'?"]);
        assert!(hints("[jobs.a]\nnothing_like_it = 1\n").is_empty());
        assert!(
            message("[tables.a]\nkey = 5\n")
                .contains("invalid type: integer `5`, expected a string or an array of strings")
        );
        assert!(
            message("[tables.a]\nkey = [5]\n")
                .contains("invalid type: integer `5`, expected a string")
        );
        assert!(message("[events.a]\n").ends_with("[events.a]: 'path' is missing"));
        assert!(
            message("[events.a]\npath = 'x'\n")
                .ends_with("[events.a]: 'path' needs a 'layout' or a 'date_column'")
        );
        assert!(
            message("[events.a]\ndate_column = 'x'\n")
                .ends_with("[events.a]: 'date_column' requires 'path'")
        );
        let stray = "[events.a]\npath = 'x'\nlayout = '%Y-%m-%d'\ndate_format = '%d'\n";
        assert!(message(stray).ends_with("[events.a]: 'date_format' requires 'date_column'"));
        assert!(
            message("[tables.a]\nsnapshots = 'x'\n")
                .ends_with("[tables.a]: 'snapshots' needs a 'layout' or a 'date_column'")
        );
        assert!(message("[events.a.types]\nx = 'number'\n").contains("'number' is not a type"));
        assert!(load("[events.a.types]\nx = 'text'\n").is_ok());
        assert!(message("[tables.a]\nlag = '1'\n").contains("not a number of days"));
        assert!(
            message("[jobs.a]\ncommand = ['a']\nsql = 'select 1'\n")
                .ends_with("a job has one of 'sql', 'sql_file', 'table' and 'command'")
        );
        assert!(
            message("[jobs.a]\ncommand = ['a']\non = ['id']\n")
                .ends_with("'on' applies to joins only; this job is a command")
        );
        assert!(
            message("[jobs.a]\nsql = 'select 1'\ntimeout = '1h'\n")
                .ends_with("'timeout' requires 'command'")
        );
        let job = load("[jobs.a]\ncommand = ['a']\nevents = 'e'\ntables = ['t', 'u']\n")
            .expect("it reads")
            .jobs["a"]
            .clone();
        assert_eq!((job.events.len(), job.tables.len()), (1, 2));
        assert!(
            message("[jobs.a]\ntimezone = 'Europe/Berln'\n")
                .ends_with("[jobs.a]: timezone 'Europe/Berln' is unknown")
        );
    }

    #[test]
    fn the_value_of_a_store_is_not_told() {
        for value in ["hunter2${", "${NOPE}hunter2"] {
            let config = load(&format!("[stores.s3]\nregion = '{value}'\n")).expect("it reads");
            assert!(!format!("{config:?}").contains("hunter2"));
            let error = config
                .store_options(&|_| None)
                .expect_err(value)
                .to_string();
            assert!(
                error.starts_with("[stores.s3], 'region': ") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
