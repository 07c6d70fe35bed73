//! The parts of the page: the head, what needs attention, all tables at a glance, each table, each
//! job.

use super::html::{Figure, escaped, table};
use super::{in_words, tables};
use crate::cli::printer::{count, number, size};
use crate::commands::job_status::JobStatus;
use crate::commands::report::{
    AttentionPart, CoverageRun, CoverageState, JobHistoryReport, LakeReport, TableHistoryReport,
};
use crate::commands::schema::{ColumnEvent, ColumnHistory};

/// The most tables that are open at first.
const MOST_OPEN: usize = 3;

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
const OUTPUTS: &[(&str, &str)] = &[
    ("observed", "written"),
    ("rewritten", "stale"),
    ("unreadable", "failed"),
    ("gap", "missing"),
    ("refused", "orphaned"),
];

/// What stands between `<body>` and the scripts.
pub(super) fn body(report: &LakeReport) -> String {
    let mut html = head(report);
    html.push_str("<main>\n");
    html.push_str(&tiles(report));
    html.push_str(&attention(report));
    if report.tables.len() > 1 {
        html.push_str(&glance(report));
    }
    if !report.tables.is_empty() {
        html.push_str("<h2>Tables</h2>\n");
    }
    let is_open = report.tables.len() <= MOST_OPEN;
    for (at, table) in report.tables.iter().enumerate() {
        html.push_str(&table_part(at, table, is_open));
    }
    if !report.jobs.is_empty() {
        html.push_str("<h2>Jobs</h2>\n");
    }
    for (at, job) in report.jobs.iter().enumerate() {
        html.push_str(&job_part(at, job, report.jobs.len() <= MOST_OPEN));
    }
    html.push_str("</main>\n");
    html
}

fn head(report: &LakeReport) -> String {
    let lake = escaped(report.lake.as_deref().unwrap_or("external tables"));
    let made = report.made_at.format("%Y-%m-%d %H:%M UTC");
    let badge = badge(report.is_up_to_date, "up to date", "needs attention");
    let all = match report.tables.len() + report.jobs.len() {
        0..=2 => "",
        _ => "<button type=\"button\" id=\"all\" class=\"needs-js\">Open all</button>",
    };
    format!(
        "<header class=\"top\"><div><div class=\"title\"><h1>{lake}</h1><p class=\"caption\">as of {}, made on {made}</p></div>\
         {badge}{all}<button type=\"button\" id=\"theme\" class=\"needs-js\">Dark</button></div></header>\n",
        report.today
    )
}

fn badge(is_good: bool, good: &str, bad: &str) -> String {
    match is_good {
        true => format!("<span class=\"badge good\">{good}</span>"),
        false => format!("<span class=\"badge bad\">{bad}</span>"),
    }
}

fn tiles(report: &LakeReport) -> String {
    let sum = |of: fn(&TableHistoryReport) -> u64| report.tables.iter().map(of).sum::<u64>();
    let snapshots = sum(|table| table.snapshots);
    let bytes = sum(|table| table.bytes);
    let intervals = sum(|table| table.intervals.map_or(0, |intervals| intervals.bytes));
    let derived = sum(|table| table.derived);
    let pruned = sum(|table| table.pruned.bytes);
    let rows = sum(|table| table.rows.unwrap_or(0));
    let first = report.tables.iter().filter_map(|table| table.first).min();
    let last = report.tables.iter().filter_map(|table| table.last).max();
    let span = first
        .zip(last)
        .map_or_else(String::new, |(first, last)| format!("{first} to {last}"));
    let jobs = count(report.jobs.len() as u64, "job");
    let mut tiles = vec![
        ("Tables", number(report.tables.len() as u64), jobs),
        ("Snapshots", number(snapshots), span),
        (
            "Rows",
            number(rows),
            "on the last date of each table".to_owned(),
        ),
        (
            "Snapshots take",
            size(bytes),
            format!("intervals take {}", size(intervals)),
        ),
    ];
    if derived > 0 {
        tiles.push((
            "Pruning saves",
            size(pruned),
            format!("{} derived from intervals", count(derived, "date")),
        ));
    }
    let tile = |(name, value, more): (&str, String, String)| {
        format!(
            "<div><dt>{name}</dt><dd>{value}<small>{}</small></dd></div>",
            escaped(&more)
        )
    };
    let tiles: String = tiles.into_iter().map(tile).collect();
    format!("<dl class=\"tiles\">{tiles}</dl>\n")
}

fn attention(report: &LakeReport) -> String {
    if report.attention.is_empty() {
        return String::new();
    }
    let item = |attention: &crate::commands::report::Attention| {
        let place = match attention.part {
            AttentionPart::Table => report
                .tables
                .iter()
                .position(|table| *table.table.as_str() == attention.of)
                .map(|at| format!("table-{at}")),
            AttentionPart::Job => report
                .jobs
                .iter()
                .position(|job| job.job == attention.of)
                .map(|at| format!("job-{at}")),
        };
        let command = attention
            .try_with
            .as_deref()
            .map_or_else(String::new, |command| {
                format!(" <code>{}</code>", escaped(command))
            });
        format!(
            "<li><b><a href=\"#{}\">{}</a></b><span class=\"wrap\">{}{command}</span></li>",
            place.unwrap_or_default(),
            escaped(&attention.of),
            escaped(&in_words(attention))
        )
    };
    let items: String = report.attention.iter().map(item).collect();
    format!(
        "<h2>Needs attention</h2>\n<div class=\"card\"><ul class=\"attention\">{items}</ul></div>\n"
    )
}

/// All tables: how many of the dates of each month are there, and how old each is.
fn glance(report: &LakeReport) -> String {
    let row = |(at, table): (usize, &TableHistoryReport)| {
        let known = |value: Option<u64>, show: fn(u64) -> String| {
            value.map_or_else(|| "unknown".to_owned(), show)
        };
        vec![
            format!(
                "<a href=\"#table-{at}\">{}</a>",
                escaped(table.table.as_str())
            ),
            table
                .last
                .map_or_else(|| "none".to_owned(), |last| last.to_string()),
            age(table).unwrap_or_default(),
            format!(
                "{} of {}",
                number(table.observed),
                number(table.observed + table.gap_days)
            ),
            known(table.rows, number),
            size(table.bytes),
            badge(table.is_up_to_date, "up to date", "attention"),
        ]
    };
    let rows: Vec<_> = report.tables.iter().enumerate().map(row).collect();
    let header = [
        "table",
        "last copy",
        "age",
        "dates covered",
        "rows",
        "snapshots",
        "",
    ];
    let figure = Figure {
        chart: "overview",
        of: 0,
        title: "Coverage of each table by month",
        describes: format!(
            "A month by month calendar of {}",
            count(report.tables.len() as u64, "table")
        ),
        is_half: false,
        legend: &[
            ("observed", "every date"),
            ("gap", "no date"),
            ("unreadable", "refused or unreadable"),
        ],
        table: table(&header, &rows, &[3, 4, 5]),
        is_by_month: false,
        note: None,
    };
    format!(
        "<h2>At a glance</h2>\n<div class=\"card\">{}</div>\n",
        figure.html()
    )
}

fn age(table: &TableHistoryReport) -> Option<String> {
    Some(match table.age_days? {
        0 => "today".to_owned(),
        1 => "yesterday".to_owned(),
        days if days > 1 => format!("{} days ago", number(days.unsigned_abs())),
        days => format!("in {}", count(days.unsigned_abs(), "day")),
    })
}

fn table_part(at: usize, table: &TableHistoryReport, is_open: bool) -> String {
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
    let state = |state: CoverageState| -> u64 {
        let runs = table.coverage.iter().filter(|run| run.state == state);
        runs.map(|run| run.range.len() as u64).sum()
    };
    let coverage = Figure {
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
    let mut html = coverage.html();
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
    html.push_str(&rows.html());
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

/// The states of outputs that occur.
fn outputs_legend(status: &JobStatus) -> Vec<(&'static str, &'static str)> {
    let state = |name: &str| {
        if name == "written" {
            "up_to_date"
        } else {
            name
        }
        .to_owned()
    };
    let occurs = |(_, name): &&(&str, &'static str)| status.count(&state(name)) > 0;
    OUTPUTS.iter().filter(occurs).copied().collect()
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
            let row = |(change, name): &(&crate::commands::schema::SchemaChange, &String)| {
                let data_type = change.data_type.as_deref().unwrap_or_default();
                vec![
                    escaped(name),
                    event_name(change.event).to_owned(),
                    escaped(data_type),
                    change.date.to_string(),
                ]
            };
            let rows: Vec<_> = events.iter().map(row).collect();
            table(&["column", "event", "type", "date"], &rows, &[3])
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
    let all = table(&["column", "type", "first copy", "last copy"], &rows, &[2, 3]);
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

fn job_part(at: usize, job: &JobHistoryReport, is_open: bool) -> String {
    let open = if is_open { " open" } else { "" };
    let name = escaped(&job.job);
    let is_up_to_date = job.status.as_ref().is_some_and(JobStatus::is_up_to_date);
    let badge = badge(is_up_to_date, "up to date", "needs attention");
    let (caption, body) = match (&job.status, &job.error) {
        (Some(status), _) if status.dates.is_empty() => (
            String::new(),
            format!(
                "<p class=\"note\">No events from {} to {}.</p>",
                status.range.from(),
                status.range.to()
            ),
        ),
        (Some(status), _) => (in_counts(status), job_body(at, status)),
        (None, error) => {
            let error = error.as_deref().unwrap_or_default();
            (
                String::new(),
                format!("<p class=\"note\">{}</p>", escaped(error)),
            )
        }
    };
    format!(
        "<details class=\"part\" id=\"job-{at}\"{open}><summary><h3>{name}</h3>{badge}<span class=\"caption\">{caption}</span></summary>\n\
         <div class=\"body\">{body}</div></details>\n"
    )
}

fn in_counts(status: &JobStatus) -> String {
    let states = [
        ("up_to_date", "written"),
        ("stale", "stale"),
        ("failed", "failed"),
        ("missing", "missing"),
        ("orphaned", "orphaned"),
    ];
    let counts = states
        .into_iter()
        .map(|(state, name)| (status.count(state), name));
    let counts: Vec<String> = counts
        .filter(|(dates, _)| *dates > 0)
        .map(|(dates, name)| format!("{} {name}", number(dates)))
        .collect();
    format!("outputs: {}", counts.join(" · "))
}

fn job_body(at: usize, status: &JobStatus) -> String {
    let counts = in_counts(status);
    let figure = Figure {
        chart: "outputs",
        of: at,
        title: "Outputs",
        describes: format!("A calendar of {counts}"),
        is_half: false,
        legend: &outputs_legend(status),
        table: tables::outputs(status),
        is_by_month: false,
        note: None,
    };
    format!(
        "<p class=\"facts\">{}</p><div class=\"charts\">{}</div>",
        escaped(&status.output),
        figure.html()
    )
}
