//! The part of one table: its coverage, changes, rankings, sizes and columns.

use super::html::{Figure, escaped, table as html_table};
use super::sections::{age, badge};
use super::tables;
use crate::cli::printer::{count, number, size};
use crate::commands::report::{CoverageRun, CoverageState, TableHistoryReport};
use crate::commands::schema::{ColumnEvent, ColumnHistory, SchemaChange};

const COVERAGE: &[(&str, &str)] = &[
    ("observed", "observed"),
    ("rewritten", "rewritten"),
    ("derived", "derived from intervals"),
    ("refused", "refused"),
    ("unreadable", "unreadable"),
    ("gap", "gap"),
];
const CHANGES: &[(&str, &str)] = &[
    ("added", "added"),
    ("changed", "changed"),
    ("removed", "removed"),
];
const BYTES: &[(&str, &str)] = &[("observed", "in the lake"), ("derived", "saved by pruning")];

/// The part of a table; `at` is its position in the document.
pub(super) fn table_part(at: usize, table: &TableHistoryReport, is_open: bool) -> String {
    let open = if is_open { " open" } else { "" };
    let name = escaped(table.table.as_str());
    let mut caption = Vec::new();
    if let (Some(last), Some(age)) = (table.last, age(table)) {
        caption.push(format!("last copy {last}, {age}"));
    }
    caption.extend(table.rows.map(|rows| count(rows, "row")));
    caption.push(format!(
        "{}, {}",
        count(table.snapshots, "snapshot"),
        size(table.bytes)
    ));
    let badge = badge(table.is_up_to_date, "up to date", "needs attention");
    let caption = caption.join(" · ");
    let body = match table.observed {
        0 => "<p class=\"note\">This table has no snapshots yet.</p>".to_owned(),
        _ => table_body(at, table),
    };
    format!(
        "<details class=\"part\" id=\"table-{at}\"{open}><summary><h3>{name}</h3>{badge}<span class=\"caption\">{caption}</span></summary>\n\
         <div class=\"body\"><p class=\"facts\">{}</p>\n<div class=\"charts\">{body}</div></div></details>\n",
        facts(table)
    )
}

fn facts(table: &TableHistoryReport) -> String {
    let mut facts = vec![format!("key {}", table.key.join(", "))];
    if let (Some(first), Some(last)) = (table.first, table.last) {
        facts.push(format!(
            "{} from {first} to {last}",
            count(table.observed, "date")
        ));
    }
    if table.gap_days > 0 {
        facts.push(format!("{} without a copy", count(table.gap_days, "day")));
    }
    facts.push(match &table.intervals {
        Some(volume) => format!(
            "{} of {}, {}",
            count(volume.intervals, "interval"),
            count(volume.dates, "date"),
            size(volume.bytes)
        ),
        None => "no intervals".to_owned(),
    });
    if table.pruned.snapshots > 0 {
        let unknown = match table.pruned.of_unknown_size {
            0 => String::new(),
            unknown => format!(", without {} of unknown size", number(unknown)),
        };
        facts.push(format!(
            "pruning {} saves {}{unknown}",
            count(table.pruned.snapshots, "snapshot"),
            size(table.pruned.bytes)
        ));
    }
    if !table.own {
        facts.push("external".to_owned());
    }
    facts.push(table.root.clone());
    escaped(&facts.join(" · "))
}

fn table_body(at: usize, table: &TableHistoryReport) -> String {
    let days = &table.days;
    let is_by_month = tables::is_by_month(days);
    let mut html = coverage(at, table);
    html.push_str(&changes(at, table, is_by_month));
    html.push_str(&most_changed(table));
    let rows = Figure {
        chart: "rows",
        of: at,
        title: "Rows",
        describes: format!(
            "Rows over time; {} on the last date",
            table.rows.map_or_else(|| "unknown".to_owned(), number)
        ),
        is_half: true,
        legend: &[],
        table: tables::rows(days),
        is_by_month,
        note: None,
    };
    // External copies have no footers, and without intervals nothing tells their rows.
    if days.rows.iter().any(Option::is_some) {
        html.push_str(&rows.html());
    }
    let bytes = Figure {
        chart: "bytes",
        of: at,
        title: "Size of each snapshot",
        describes: format!(
            "Bytes over time; {} in all, and {} saved by pruning",
            size(table.bytes),
            size(table.pruned.bytes)
        ),
        is_half: true,
        legend: match days.pruned_bytes.is_empty() {
            true => &[],
            false => BYTES,
        },
        table: tables::bytes(days),
        is_by_month,
        note: None,
    };
    html.push_str(&bytes.html());
    html.push_str(&schema(&table.columns));
    html
}

/// The calendar of a table.
fn coverage(at: usize, table: &TableHistoryReport) -> String {
    let state = |state: CoverageState| -> u64 {
        let runs = table.coverage.iter().filter(|run| run.state == state);
        runs.map(|run| run.range.len() as u64).sum()
    };
    let figure = Figure {
        chart: "coverage",
        of: at,
        title: "Coverage",
        describes: format!(
            "A calendar: {} observed, {} rewritten, {} derived, {} refused, {} unreadable, {} without a copy",
            count(state(CoverageState::Observed), "date"),
            state(CoverageState::Rewritten),
            state(CoverageState::Derived),
            state(CoverageState::Refused),
            state(CoverageState::Unreadable),
            state(CoverageState::Gap),
        ),
        is_half: false,
        legend: &legend(COVERAGE, &table.coverage),
        table: tables::coverage(&table.coverage),
        is_by_month: false,
        note: None,
    };
    figure.html()
}

/// The states that occur.
fn legend<'a>(all: &'a [(&'a str, &'a str)], runs: &[CoverageRun]) -> Vec<(&'a str, &'a str)> {
    let occurs = |(color, _): &&(&str, &str)| {
        runs.iter()
            .any(|run| serde_json::to_value(run.state).is_ok_and(|state| state == **color))
    };
    all.iter().filter(occurs).copied().collect()
}

fn changes(at: usize, table: &TableHistoryReport, is_by_month: bool) -> String {
    let days = &table.days;
    let sum = |values: &[Option<u64>]| values.iter().flatten().sum::<u64>();
    let because = table.unknown_because.as_deref().unwrap_or("not recorded");
    let mut notes = Vec::new();
    if table.unknown_days > 0 {
        let days = count(table.unknown_days, "date");
        notes.push(format!(
            "It is unknown what changed on {days}: {}.",
            escaped(because)
        ));
    }
    if let Some(not_compared) = &table.not_compared {
        notes.push(format!("Not compared: {}.", escaped(not_compared)));
    }
    let said = (!notes.is_empty()).then(|| notes.join(" "));
    if days.added.iter().all(Option::is_none) {
        let nothing = match days.date.len() {
            1 => "There is only one copy so far.".to_owned(),
            _ => said.unwrap_or_default(),
        };
        return format!(
            "<section class=\"chart\"><header><h3>Changes</h3></header><p class=\"note\">{nothing}</p></section>\n"
        );
    }
    // The script shows the remark if it draws the chart so.
    let scale = "<span class=\"scale\" hidden>Heights are square roots, since few dates have most \
                 of the changes.</span> ";
    let note = Some(format!("{scale}{}", said.unwrap_or_default()));
    let figure = Figure {
        chart: "changes",
        of: at,
        title: "Keys added, changed and removed",
        describes: format!(
            "Changes over time: {} added, {} changed, {} removed in all",
            number(sum(&days.added)),
            number(sum(&days.changed)),
            number(sum(&days.removed))
        ),
        is_half: false,
        legend: CHANGES,
        table: tables::changes(days),
        is_by_month,
        note,
    };
    figure.html()
}

fn most_changed(table: &TableHistoryReport) -> String {
    let columns = table.most_changed_columns.as_deref().unwrap_or_default();
    let keys = table.most_changed_keys.as_deref().unwrap_or_default();
    let part = |title: &str, ranking: String| {
        format!(
            "<section class=\"chart half\"><header><h3>{title}</h3></header>{ranking}</section>\n"
        )
    };
    let mut html = String::new();
    if !columns.is_empty() {
        let rows: Vec<_> = columns
            .iter()
            .map(|column| (column.name.clone(), column.changed, column.last_date))
            .collect();
        html.push_str(&part(
            "Columns that change most",
            tables::ranking("column", &rows),
        ));
    }
    if !keys.is_empty() {
        let rows: Vec<_> = keys
            .iter()
            .map(|key| (key.key.join(", "), key.changes, key.last_date))
            .collect();
        html.push_str(&part(
            "Keys that change most",
            tables::ranking(&escaped(&table.key.join(", ")), &rows),
        ));
    }
    html
}

fn schema(columns: &[ColumnHistory]) -> String {
    let first = columns.iter().map(|column| column.first_date).min();
    let mut events: Vec<_> = columns
        .iter()
        .flat_map(|column| {
            column
                .changes
                .iter()
                .map(move |change| (change, &column.name))
        })
        .filter(|(change, _)| change.event != ColumnEvent::Appeared || Some(change.date) != first)
        .collect();
    events.sort_by_key(|(change, _)| std::cmp::Reverse(change.date));
    let drift = match (events.is_empty(), first) {
        (true, Some(first)) => format!(
            "<p class=\"note\">No column appeared, changed its type or went since {first}.</p>"
        ),
        (true, None) => String::new(),
        (false, _) => {
            let row = |(change, name): &(&SchemaChange, &String)| {
                let data_type = change.data_type.as_deref().unwrap_or_default();
                vec![
                    escaped(name),
                    event_name(change.event).to_owned(),
                    escaped(data_type),
                    change.date.to_string(),
                ]
            };
            let rows: Vec<_> = events.iter().map(row).collect();
            html_table(&["column", "event", "type", "date"], &rows, &[3])
        }
    };
    let row = |column: &ColumnHistory| {
        let key = if column.key { " (key)" } else { "" };
        vec![
            format!("{}{key}", escaped(&column.name)),
            escaped(&column.data_type),
            column.first_date.to_string(),
            column.last_date.to_string(),
        ]
    };
    let rows: Vec<_> = columns.iter().map(row).collect();
    let all = html_table(
        &["column", "type", "first copy", "last copy"],
        &rows,
        &[2, 3],
    );
    format!(
        "<section class=\"chart half\"><header><h3>Schema drift</h3></header>{drift}</section>\n\
         <section class=\"chart half\"><header><h3>{}</h3></header>{all}</section>\n",
        count(columns.len() as u64, "column")
    )
}

fn event_name(event: ColumnEvent) -> &'static str {
    match event {
        ColumnEvent::Appeared => "appeared",
        ColumnEvent::Changed => "changed type",
        ColumnEvent::Absent => "absent",
        ColumnEvent::Reappeared => "reappeared",
    }
}
