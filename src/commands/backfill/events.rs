//! The events of a job: where they are, what tells their dates, and what a range has of them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use super::options::{AdHoc, DatesInColumn};
use crate::commands::Workspace;
use crate::config::zone;
use crate::domain::layout::Layout;
use crate::domain::staleness::EventsInput;
use crate::engine::dated::{DateColumn, Dated, NamedBy, RowsOf, Split};
use crate::error::{Error, Result, toml_key, word};
use crate::model::DateRange;
use crate::source::{Format, FormatRule, LayoutColumns, TypeRules};
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::partitions::{self, Found};

/// Events whose place is known, and whose partitions have not been looked for.
#[derive(Clone)]
pub(in crate::commands) struct EventsPlace {
    pub(in crate::commands) name: String,
    pub(in crate::commands) root: Location,
    pub(in crate::commands) dates: EventDates,
    pub(in crate::commands) format: FormatRule,
    pub(in crate::commands) types: TypeRules,
}

/// What tells the date of events.
#[derive(Clone)]
pub(in crate::commands) enum EventDates {
    /// The path of their file.
    Layout(Layout),
    /// A column.
    Column(EventsDatedByColumn),
}

/// A column of dates, and a layout that narrows the files that are read, if there is one.
#[derive(Clone)]
pub(in crate::commands) struct EventsDatedByColumn {
    pub(in crate::commands) column: DateColumn,
    pub(in crate::commands) layout: Option<Layout>,
}

impl EventDates {
    /// What a layout and a column say; nothing if there is neither.
    fn of(layout: Option<&str>, column: Option<DateColumn>) -> Result<Option<Self>> {
        let layout = layout.map(Layout::parse).transpose()?;
        Ok(match (column, layout) {
            (Some(column), layout) => {
                Some(EventDates::Column(EventsDatedByColumn { column, layout }))
            }
            (None, Some(layout)) => Some(EventDates::Layout(layout)),
            (None, None) => None,
        })
    }

    /// The column, if it is one.
    pub(in crate::commands) fn into_column(self) -> Option<EventsDatedByColumn> {
        match self {
            EventDates::Layout(_) => None,
            EventDates::Column(column) => Some(column),
        }
    }

    fn layout(&self) -> Option<&Layout> {
        match self {
            EventDates::Layout(layout) => Some(layout),
            EventDates::Column(EventsDatedByColumn { layout, .. }) => layout.as_ref(),
        }
    }
}

impl EventsPlace {
    /// Finds the events of a range. Those whose dates are in a column are split by date.
    ///
    /// `followed` are types that text is read in, whatever its values are.
    ///
    /// # Errors
    /// A failure to list them; a refusal of rows without a date.
    pub(super) fn search(
        mut self,
        workspace: &Workspace<'_>,
        range: DateRange,
        followed: Option<SchemaRef>,
    ) -> Result<EventsSource> {
        self.types.layout = self
            .dates
            .layout()
            .map(LayoutColumns::of_events)
            .unwrap_or_default();
        match self.dates.clone() {
            EventDates::Layout(layout) => self.search_by_layout(layout, range),
            EventDates::Column(dates) => self.split_by_column(workspace, dates, range, followed),
        }
    }

    /// The events as rows whose dates a column tells.
    pub(in crate::commands) fn dated_by(
        &self,
        workspace: &Workspace<'_>,
        dates: EventsDatedByColumn,
    ) -> Dated {
        let EventsDatedByColumn { column, layout } = dates;
        let of_layout = layout.as_ref().map(LayoutColumns::of_events);
        let types = TypeRules {
            layout: of_layout.unwrap_or_default(),
            ..self.types.clone()
        };
        let (root, format) = (self.root.clone(), self.format.clone());
        let shown = format!("events {}, '{}'", self.name, workspace.shown(&self.root));
        Dated::new(root, layout, format, types, column, RowsOf::Events)
            .within(shown, workspace.memory)
    }

    fn search_by_layout(self, layout: Layout, range: DateRange) -> Result<EventsSource> {
        let name = self.name;
        let at = |error: Error| error.within(format!("events {name}"));
        let found = partitions::find(&self.root, &layout, Some(range)).map_err(at)?;
        let first = found.partitions.values().next();
        // What is wrong for every date keeps the job from starting.
        if let Some(objects) = first.filter(|_| self.types.csv_is_given) {
            let what = format!("'{}'", objects[0].location);
            let format = self.format.of(objects)?;
            self.types.check_csv(format, &what).map_err(at)?;
        }
        Ok(EventsSource {
            name,
            root: self.root,
            layout,
            found,
            format: self.format,
            types: self.types,
            dated: None,
        })
    }

    fn split_by_column(
        mut self,
        workspace: &Workspace<'_>,
        dates: EventsDatedByColumn,
        range: DateRange,
        followed: Option<SchemaRef>,
    ) -> Result<EventsSource> {
        self.types.pinned = followed;
        let dated = self.dated_by(workspace, dates);
        let split = dated.split(Some(range))?;
        Ok(EventsSource {
            name: self.name,
            root: self.root,
            layout: Dated::split_layout()?,
            found: split.find(Some(range))?,
            format: dated.split_format(),
            types: dated.split_types(),
            dated: Some((dated, split)),
        })
    }
}

/// The events of a job, in the range that was asked for.
pub(super) struct EventsSource {
    pub(super) name: String,
    pub(super) root: Location,
    pub(super) layout: Layout,
    pub(super) found: Found,
    pub(super) format: FormatRule,
    pub(super) types: TypeRules,
    /// If a column tells the dates: all of the events, and those of the range, split by date.
    /// `found` are the files of the split.
    pub(super) dated: Option<(Dated, Arc<Split>)>,
}

impl EventsSource {
    /// The files of a date.
    pub(super) fn files_of(&self, date: NaiveDate) -> &[Object] {
        self.found
            .partitions
            .get(&date)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// What the events of a date are.
    pub(super) fn identity(&self, date: NaiveDate) -> Vec<EventsInput> {
        match &self.dated {
            None => self.files_of(date).iter().map(Object::identity).collect(),
            Some((_, split)) => split.identity(date).into_iter().collect(),
        }
    }

    /// What to try where a range has no events.
    pub(super) fn hint_of(&self, range: DateRange) -> String {
        if let Some((dated, _)) = &self.dated {
            return format!(
                "correct the range, or the date column '{}'",
                dated.column.name
            );
        }
        let root = word(&self.root.to_string());
        let layout = word(&self.layout.to_string());
        format!(
            "asof partitions {root} --layout {layout} --from {} --to {}",
            range.from(),
            range.to()
        )
    }

    /// What there is of a date without events.
    pub(super) fn nothing(&self) -> &'static str {
        if self.dated.is_some() {
            "no rows"
        } else {
            "no partition"
        }
    }

    /// Whether the events are text, whose types are inferred.
    pub(super) fn is_text(&self) -> bool {
        let first = self.found.partitions.values().flatten().next();
        let format = self
            .format
            .declared
            .or_else(|| Format::of(&first?.location));
        format.is_none_or(|format| !format.carries_types())
    }
}

/// The events of a section of asof.toml.
///
/// # Errors
/// A usage error for events that are not there, or of which nothing tells the dates.
pub(in crate::commands) fn configured_events(
    workspace: &Workspace<'_>,
    name: &str,
) -> Result<EventsPlace> {
    let Some(config) = workspace.config.events.get(name) else {
        let error = Error::usage(format!("there are no events '{name}'"));
        return Err(error.hint_nearest(
            name,
            workspace.config.events.keys().map(String::as_str),
            || {
                format!(
                    "[events.{}] path = \"DIR\", layout = \"date=%Y-%m-%d\" in asof.toml",
                    toml_key(name)
                )
            },
        ));
    };
    if config.path.is_empty() {
        return Err(
            Error::usage(format!("[events.{name}] has no path")).hint(format!(
                "[events.{}] path = \"DIR\", layout = \"date=%Y-%m-%d\" in asof.toml",
                toml_key(name)
            )),
        );
    }
    let section = format!("events.{}", toml_key(name));
    let column = workspace.date_column(
        config.date_column.as_ref(),
        config.date_format.as_ref(),
        config.timezone.as_deref(),
        section,
    )?;
    let layout = Some(config.layout.as_str()).filter(|layout| !layout.is_empty());
    let missing = || {
        Error::usage(format!(
            "[events.{name}] has neither a layout nor a date column"
        ))
    };
    Ok(EventsPlace {
        name: name.to_owned(),
        root: workspace.configured(&config.path)?,
        dates: EventDates::of(layout, column)?.ok_or_else(missing)?,
        format: FormatRule {
            declared: config.format,
            option: format!(
                "[events.{}] format = \"parquet\" in asof.toml; or csv, tsv, ndjson, arrow, avro",
                toml_key(name)
            ),
        },
        types: workspace.event_types(name, Some(config))?,
    })
}

/// The date column that the command line names for events; nothing if it names none.
fn ad_hoc_column(workspace: &Workspace<'_>, dates: &DatesInColumn) -> Result<Option<DateColumn>> {
    let Some(name) = &dates.column else {
        return Ok(None);
    };
    let zone = dates
        .timezone
        .as_deref()
        .map_or_else(|| workspace.config.zone(), zone)?;
    Ok(Some(DateColumn {
        name: name.clone(),
        format: dates.format.clone(),
        zone,
        named_by: NamedBy::Options("--events-"),
    }))
}

/// The events of an ad hoc job: a configured name, or a path with its layout.
pub(super) fn ad_hoc_events(
    workspace: &Workspace<'_>,
    ad_hoc: &AdHoc,
    events: &str,
) -> Result<EventsPlace> {
    let is_configured = workspace
        .config
        .events
        .get(events)
        .is_some_and(|config| !config.path.is_empty());
    let dates = &ad_hoc.events_dates;
    if ad_hoc.events_layout.is_none() && is_configured {
        let mut configured = configured_events(workspace, events)?;
        // Its zone is that of the configured events, unless the command line names one.
        let timezone = workspace
            .config
            .events
            .get(events)
            .and_then(|config| config.timezone.clone());
        let dates = DatesInColumn {
            timezone: dates.timezone.clone().or(timezone),
            ..dates.clone()
        };
        if let Some(column) = ad_hoc_column(workspace, &dates)? {
            configured.dates = EventDates::Column(EventsDatedByColumn {
                column,
                layout: configured.dates.layout().cloned(),
            });
        }
        return Ok(configured);
    }
    let column = ad_hoc_column(workspace, dates)?;
    let Some(dates) = EventDates::of(ad_hoc.events_layout.as_deref(), column)? else {
        let what = format!("cannot tell which date each event in '{events}' belongs to");
        return Err(Error::usage(what)
            .hint("--events-layout 'date=%Y-%m-%d', if the path has the date")
            .hint("--events-date-column COLUMN, if a column has the date"));
    };
    let root = workspace.here(events)?;
    let name = name_of_events(&root);
    // What asof.toml says of events of this name holds wherever they are.
    let config = workspace.config.events.get(&name);
    let declared = ad_hoc
        .events_format
        .or(config.and_then(|config| config.format));
    let format = FormatRule {
        declared,
        option: "--events-format parquet|csv|tsv|ndjson|arrow|avro".to_owned(),
    };
    let types = workspace.event_types(&name, config)?;
    Ok(EventsPlace {
        name,
        root,
        dates,
        format,
        types,
    })
}

/// The name of events that the command line places: that of their folder or file, without its
/// ending.
fn name_of_events(root: &Location) -> String {
    let name = root.name();
    let stem = match Format::of(root) {
        Some(_) => name.split('.').next().unwrap_or_default(),
        None => name.as_str(),
    };
    let is_usable = !stem.is_empty() && !stem.contains(['*', '?', '[']);
    if is_usable {
        stem.to_owned()
    } else {
        "events".to_owned()
    }
}
