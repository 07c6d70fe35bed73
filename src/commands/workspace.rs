//! What every command is given: configuration, lake, clock, and somebody to tell of progress.

mod builder;
mod lineage;
mod progress;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

pub use self::builder::WorkspaceBuilder;
use self::lineage::Emitter;
pub(in crate::commands) use self::lineage::{OpenRun, dataset_at};
pub(super) use self::progress::Notes;
pub use self::progress::{PartState, Progress};
use crate::clock::Clock;
use crate::config::{Config, EventsConfig, TableConfig, expand_path, zone};
use crate::domain::as_of_rule::AsOfRule;
use crate::domain::layout::Layout;
use crate::domain::row_limits::Limits;
use crate::engine::as_of::last_key;
use crate::engine::dated::{DateColumn, Dated, NamedBy, RowsOf};
use crate::engine::intervals::Intervals;
use crate::engine::table::SnapshotTable;
use crate::error::{Error, Kind, Result, toml_key};
use crate::memory::MemoryBudget;
use crate::model::TableName;
use crate::secret::{Secret, without_credentials};
use crate::source::{Dialect, FormatRule, LayoutColumns, Observed, ReadAs, TypeRules, is_database};
use crate::storage::lake::LakeRoot;
use crate::storage::lake::aside::{AsideCopy, aside_below};
use crate::storage::lake::conditional_writes::honours_conditions;
use crate::storage::lake::location::Location;
use crate::storage::lake::paths;
use crate::storage::object_store::http::RequestCounts;
use crate::storage::object_store::registry::Stores;

/// Types that the command line declares, as they are written, by column.
#[derive(Clone, Debug, Default)]
pub struct DeclaredTypes {
    /// Those of the tables that the command is for.
    pub of_tables: BTreeMap<String, String>,
    /// Those of the events that it reads.
    pub of_events: BTreeMap<String, String>,
    /// How the CSV of the tables is written.
    pub csv_of_tables: Dialect,
    /// How the CSV of the events is written.
    pub csv_of_events: Dialect,
}

/// What a command works on; [`Workspace::builder`] makes one.
pub struct Workspace<'a> {
    /// The configuration; empty if there is none.
    pub(crate) config: Config,
    /// The lake that the command line or the environment names.
    lake: Option<String>,
    /// The folder from which paths on the command line are taken.
    pub(crate) folder: PathBuf,
    /// The time.
    pub(crate) clock: Clock,
    /// About how much memory may be used.
    pub(crate) memory: MemoryBudget,
    /// The memory that limits follow from: that of the whole run, so that a table is read alike
    /// alone and beside others.
    whole_memory: MemoryBudget,
    /// The object stores, as configuration and environment describe them.
    pub(crate) stores: Arc<Stores>,
    /// Whether a store that does not enforce conditional writes may be written to.
    allow_unsafe_store: bool,
    /// The types that the command line declares; they overrule the configuration.
    pub(crate) declared: DeclaredTypes,
    /// Whether only the columns of sources are wanted: [`TypeRules::only_columns`].
    only_columns: bool,
    /// How text was read so far, by what it belongs to: `table item`, `events clicks`.
    observed: Arc<Mutex<BTreeMap<String, Observed>>>,
    /// Tables whose copies are rows of the same files, once they were looked at.
    dated: Arc<Mutex<BTreeMap<TableName, Arc<Dated>>>>,
    /// The lake, once it was looked at.
    open_lake: OnceLock<LakeRoot>,
    /// The environment's variables, for `${VAR}`.
    environment: BTreeMap<String, Secret>,
    /// Who is told of runs, if anybody is.
    emitter: Option<Arc<Emitter>>,
    /// Who is told of progress.
    pub(crate) progress: &'a dyn Progress,
}

impl<'a> Workspace<'a> {
    /// A builder of a workspace with this configuration.
    pub fn builder(config: Config) -> WorkspaceBuilder<'a> {
        WorkspaceBuilder::new(config)
    }
}

impl Workspace<'_> {
    /// A place that the command line names.
    ///
    /// # Errors
    /// A usage error for a URL of a scheme that is not served.
    pub fn here(&self, text: &str) -> Result<Location> {
        Location::parse(text, &self.folder, &self.stores)
    }

    /// A place that the configuration names.
    ///
    /// # Errors
    /// A usage error for a variable that is not set or a URL of a scheme that is not served.
    pub fn configured(&self, text: &str) -> Result<Location> {
        let expanded = self.configured_text(text)?;
        Location::parse(&expanded, &self.config.base, &self.stores)
    }

    /// A path or URL of the configuration, with the values of variables in their places.
    ///
    /// # Errors
    /// A usage error for a variable that is not set.
    pub fn configured_text(&self, text: &str) -> Result<String> {
        expand_path(text, &|name| self.environment.get(name).cloned())
    }

    /// The URL of a database of the configuration, with the values of variables in their places.
    /// Before the `@`, a value is one user or password, whatever characters it has.
    ///
    /// # Errors
    /// A usage error for a variable that is not set.
    pub fn configured_url(&self, text: &str) -> Result<String> {
        let Some((login, place)) = text.rsplit_once('@').filter(|_| is_database(text)) else {
            return self.configured_text(text);
        };
        let encoded = |name: &str| {
            let value = self.environment.get(name)?.expose();
            Some(
                utf8_percent_encode(value, NON_ALPHANUMERIC)
                    .to_string()
                    .into(),
            )
        };
        let login = expand_path(login, &encoded)?;
        Ok(format!("{login}@{}", self.configured_text(place)?))
    }

    /// The environment's variables.
    #[cfg(feature = "databases")]
    pub(super) fn environment(&self) -> &BTreeMap<String, Secret> {
        &self.environment
    }

    /// The lake.
    ///
    /// # Errors
    /// A usage error if none is named, or the place is invalid.
    pub fn lake(&self) -> Result<&LakeRoot> {
        if let Some(lake) = self.open_lake.get() {
            return Ok(lake);
        }
        let lake = LakeRoot::open(&self.lake_root()?)?;
        Ok(self.open_lake.get_or_init(|| lake))
    }

    fn lake_root(&self) -> Result<Location> {
        let root = match (&self.lake, &self.config.lake) {
            (Some(lake), _) => self.here(lake)?,
            (None, Some(lake)) => self.configured(lake)?,
            (None, None) => {
                return Err(Error::usage("no lake is named")
                    .hint("--lake DIR, or ASOF_LAKE=DIR, or lake = \"DIR\" in asof.toml")
                    .hint("asof init, to write an asof.toml"));
            }
        };
        Ok(root)
    }

    /// Refuses to write below a root in a store that does not enforce conditional writes, unless
    /// that is allowed.
    ///
    /// # Errors
    /// A usage error for such a store; a failure to find out.
    pub fn check_writes_below(&self, root: &Location) -> Result<()> {
        if honours_conditions(root, self.clock.now())? {
            return Ok(());
        }
        let store = root.store().map_or("", |store| store.url());
        let what = format!(
            "the store '{store}' does not enforce conditional writes: if two writers publish one \
             date at once, one is lost unnoticed"
        );
        if self.allow_unsafe_store {
            self.progress.note(&what);
            return Ok(());
        }
        Err(Error::usage(what)
            .hint("--allow-unsafe-store, if nothing else writes there at the same time")
            .hint(format!(
                "if the store enforces them now: delete '{}', which records that it does not",
                paths::store_facts(root)
            )))
    }

    /// The lake as it is written; nothing if none is named.
    pub(crate) fn lake_in_words(&self) -> Option<String> {
        self.lake.clone().or_else(|| self.config.lake.clone())
    }

    /// Does something, and counts what object stores were asked for it; nothing if that is nothing.
    ///
    /// # Errors
    /// What it fails with.
    pub fn counting<T>(
        &self,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Option<RequestCounts>)> {
        let before = self.stores.counts();
        let done = work()?;
        Ok((done, self.stores.counts().since(&before)))
    }

    /// Whether a lake is named; external tables can be read without one.
    pub fn has_lake(&self) -> bool {
        self.lake.is_some() || self.config.lake.is_some()
    }

    /// What the configuration says of a table, with the types that the command line declares;
    /// nothing if neither names it.
    pub fn table_config(&self, name: &TableName) -> TableConfig {
        let mut config = self
            .config
            .tables
            .get(name.as_str())
            .cloned()
            .unwrap_or_default();
        config.types.extend(self.declared.of_tables.clone());
        config.csv = self.declared.csv_of_tables.clone().or(config.csv);
        config
    }

    /// The rules for a table's types.
    ///
    /// # Errors
    /// A usage error for a type or a setting of CSV that is unknown.
    pub fn table_types(&self, name: &TableName) -> Result<TypeRules> {
        let observed = self.observed(&format!("table {name}"));
        let csv_is_given = !self.declared.csv_of_tables.is_default();
        Ok(TypeRules {
            observed,
            csv_is_given,
            limits: self.limits()?,
            only_columns: self.only_columns,
            ..self.table_config(name).type_rules(name.as_str())?
        })
    }

    /// How long a row and a key may be, and how many columns there may be.
    ///
    /// # Errors
    /// A usage error for a limit that is not an amount of bytes.
    pub fn limits(&self) -> Result<Limits> {
        self.config.limits.limits(self.whole_memory)
    }

    /// What is seen of the text of a table or of events.
    pub fn observed(&self, of: &str) -> Observed {
        match self.observed.lock() {
            Ok(mut all) => all.entry(of.to_owned()).or_default().clone(),
            Err(_) => Observed::default(),
        }
    }

    /// What was detected of how text is written, and what may be wrong with how it is read, in
    /// words.
    pub fn observations(&self) -> Vec<String> {
        let Ok(all) = self.observed.lock() else {
            return Vec::new();
        };
        let mut detected = Vec::new();
        for (of, observed) in all.iter() {
            let words = observed.detected();
            detected.extend(
                words
                    .iter()
                    .filter_map(ReadAs::detected_in_words)
                    .map(|words| format!("{of}: detected {words}")),
            );
            detected.extend(observed.notes().iter().map(|note| format!("{of}: {note}")));
        }
        detected
    }

    /// The rules for the types of events of a name, with the types that the command line declares.
    ///
    /// # Errors
    /// A usage error for a type that is unknown.
    pub fn event_types(&self, name: &str, config: Option<&EventsConfig>) -> Result<TypeRules> {
        let mut config = config.cloned().unwrap_or_default();
        config.types.extend(self.declared.of_events.clone());
        config.csv = self.declared.csv_of_events.clone().or(config.csv);
        let csv_is_given = !self.declared.csv_of_events.is_default();
        Ok(TypeRules {
            observed: self.observed(&format!("events {name}")),
            csv_is_given,
            limits: self.limits()?,
            only_columns: self.only_columns,
            ..config.type_rules(name)?
        })
    }

    /// The date column that a section of asof.toml names; nothing if it names none.
    ///
    /// # Errors
    /// A usage error for a zone that is unknown.
    pub fn date_column(
        &self,
        name: Option<&String>,
        format: Option<&String>,
        timezone: Option<&str>,
        section: String,
    ) -> Result<Option<DateColumn>> {
        let Some(name) = name else { return Ok(None) };
        let zone = timezone.map_or_else(|| self.config.zone(), zone)?;
        Ok(Some(DateColumn {
            name: name.clone(),
            format: format.cloned(),
            zone,
            named_by: NamedBy::Section(section),
        }))
    }

    /// The tables that a command is for: those named, or else all that the configuration or the
    /// lake has.
    ///
    /// # Errors
    /// A usage error for a table that neither has.
    pub fn tables(&self, named: &[String]) -> Result<Vec<TableName>> {
        if named.is_empty() {
            let all = self.known_tables()?;
            if all.is_empty() {
                self.lake()?;
                return Err(Error::usage("there is no table yet")
                    .hint("asof snapshot TABLE --source FILE --key COLUMN"));
            }
            return Ok(all);
        }
        named.iter().map(|name| self.known(name)).collect()
    }

    /// A table that the configuration or the lake has.
    ///
    /// # Errors
    /// A usage error, with the nearest name, if neither has it.
    pub fn known(&self, name: &str) -> Result<TableName> {
        let parsed: TableName = name.parse()?;
        if self.config.tables.contains_key(name) || self.has_lake() && self.lake()?.has(&parsed)? {
            return Ok(parsed);
        }
        let known = self.known_tables()?;
        if known.contains(&parsed) {
            return Ok(parsed);
        }
        if known.is_empty() {
            self.lake()?;
        }
        let error = Error::usage(format!("there is no table '{name}'"));
        Err(
            error.hint_nearest(name, known.iter().map(TableName::as_str), || {
                match known.as_slice() {
                    [] => format!("asof snapshot {name} --source FILE --key COLUMN"),
                    known => format!(
                        "the tables are {}",
                        known
                            .iter()
                            .map(TableName::as_str)
                            .collect::<Vec<_>>()
                            .join(", ")
                    ),
                }
            }),
        )
    }

    fn known_tables(&self) -> Result<Vec<TableName>> {
        let mut names: Vec<TableName> = self
            .config
            .tables
            .keys()
            .map(|name| name.parse())
            .collect::<Result<_>>()?;
        if self.has_lake() {
            names.extend(self.lake()?.tables()?);
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// A table, with its snapshots and its key. The key comes from `key`, the configuration, or the
    /// last snapshot, in this order.
    ///
    /// # Errors
    /// A usage error if there is no key to be found.
    pub fn table(&self, name: &TableName, key: &[String]) -> Result<SnapshotTable> {
        let table = self.table_with_any_key(name, key)?;
        if table.key.is_empty() {
            return Err(table.key_is_unknown());
        }
        Ok(table)
    }

    /// A table, with its snapshots and its key, which is empty if it is not known.
    ///
    /// # Errors
    /// A usage error if it has no place.
    pub fn table_with_any_key(&self, name: &TableName, key: &[String]) -> Result<SnapshotTable> {
        let mut table = self.configured_table(name)?;
        if !key.is_empty() {
            table.key = key.to_owned();
            table.key_is_given = true;
        }
        if table.key.is_empty() {
            table.key = last_key(&table, self.clock.today())?;
        }
        Ok(table)
    }

    /// A table as it is configured, with its snapshots; nothing is read. Its key is empty if it is
    /// not configured.
    ///
    /// # Errors
    /// A usage error if it has no place.
    pub fn configured_table(&self, name: &TableName) -> Result<SnapshotTable> {
        let config = self.table_config(name);
        let types = self.table_types(name)?;
        let format = FormatRule::of_table(config.source_format, name);
        let layout = config.layout.as_deref().map(Layout::parse).transpose()?;
        let section = format!("tables.{}", toml_key(name.as_str()));
        let column = self.date_column(
            config.date_column.as_ref(),
            config.date_format.as_ref(),
            config.timezone.as_deref(),
            section,
        )?;
        let table = |root, layout, own, types, format| SnapshotTable {
            name: name.clone(),
            key: config.key.clone(),
            key_is_given: false,
            root,
            layout,
            own,
            types,
            format,
            dated: None,
            dedup: config.dedup.clone(),
            dedup_is_given: false,
            has_source_of_dates: config.has_source_of_dates(),
        };
        Ok(match (&config.snapshots, column, layout) {
            (Some(snapshots), Some(column), layout) => {
                let root = self.configured(snapshots)?;
                self.dated_table(
                    table(root, Dated::split_layout()?, false, types, format),
                    layout,
                    column,
                )
            }
            (Some(snapshots), None, Some(layout)) => {
                table(self.configured(snapshots)?, layout, false, types, format)
            }
            _ => table(
                self.lake()?.snapshots(name),
                LakeRoot::layout()?,
                true,
                types,
                format,
            ),
        })
    }

    /// A table whose copies are rows of the same files. They are split by date once for the whole
    /// command.
    pub fn dated_table(
        &self,
        mut table: SnapshotTable,
        layout: Option<Layout>,
        column: DateColumn,
    ) -> SnapshotTable {
        let mut known = self.dated.lock().unwrap_or_else(PoisonError::into_inner);
        let dated = known.entry(table.name.clone()).or_insert_with(|| {
            let mut types = table.types.clone();
            // The date of a folder is not an attribute of the rows, unless it is the very date
            // column.
            types.layout = layout
                .as_ref()
                .map_or_else(LayoutColumns::default, |layout| {
                    let names = layout
                        .date_names()
                        .into_iter()
                        .map(|(name, _)| name)
                        .filter(|name| *name != column.name);
                    LayoutColumns::of_events(layout).without(names.collect())
                });
            let place = format!("table {}, '{}'", table.name, self.shown(&table.root));
            let dated = Dated::new(
                table.root.clone(),
                layout,
                table.format.clone(),
                types,
                column,
                RowsOf::Copies,
            );
            Arc::new(dated.within(place, self.memory))
        });
        table.types = dated.split_types();
        table.format = dated.split_format();
        table.dated = Some(dated.clone());
        table
    }

    /// Where a table's intervals are: in the lake, or where `out` says.
    ///
    /// # Errors
    /// A usage error if no lake is named.
    pub fn intervals_path(&self, name: &TableName, out: Option<&str>) -> Result<Location> {
        match out {
            None => Ok(self.lake()?.intervals(name)),
            Some(out) => {
                let path = self.here(out)?;
                if [
                    "csv", "tsv", "json", "ndjson", "jsonl", "arrow", "ipc", "feather",
                ]
                .contains(&path.ending().as_str())
                {
                    return Err(Error::usage(format!("'{out}': intervals are Parquet"))
                        .hint("--out FILE.parquet, or a folder"));
                }
                Ok(if path.ending() == "parquet" {
                    path
                } else {
                    path.join(&format!("{name}.parquet"))
                })
            }
        }
    }

    /// A table's intervals in the lake, if there is a lake and it has some.
    ///
    /// # Errors
    /// A refusal if they are damaged.
    pub fn intervals(&self, name: &TableName) -> Result<Option<Intervals>> {
        if !self.has_lake() {
            return Ok(None);
        }
        let opened = Intervals::open(&self.intervals_path(name, None)?);
        let mut intervals = opened.map_err(|error| match error.kind() {
            Kind::Refused => error.hint(format!("asof compact {name} --full")),
            _ => error,
        })?;
        if let Some(intervals) = &mut intervals {
            intervals.mark_dropped(&self.dropped(name)?);
        }
        Ok(intervals)
    }

    /// The snapshots of a table that somebody dropped, by date and time; none of an external table.
    ///
    /// # Errors
    /// A failure to list them.
    pub fn dropped(&self, name: &TableName) -> Result<Vec<AsideCopy>> {
        if !self.has_lake() || self.table_config(name).snapshots.is_some() {
            return Ok(Vec::new());
        }
        aside_below(&self.lake()?.dropped(name), None)
    }

    /// How a table is looked up for the events of a date, and whether its lag is declared.
    pub fn as_of_rule(&self, name: &TableName) -> (AsOfRule, bool) {
        let config = self.table_config(name);
        (
            AsOfRule {
                lag: config.lag.unwrap_or_default(),
                tolerance: config.tolerance.unwrap_or_default(),
            },
            config.lag.is_some(),
        )
    }

    /// A path as it is shown: from the folder one stands in, if it lies there, and without the
    /// credentials that it was expanded with.
    pub fn shown(&self, location: &Location) -> String {
        let path = match location.as_local() {
            Some(path) => path
                .strip_prefix(&self.folder)
                .unwrap_or(path)
                .display()
                .to_string(),
            None => location.to_string(),
        };
        without_credentials(&path)
    }
}
