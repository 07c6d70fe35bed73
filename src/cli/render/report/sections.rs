//! The parts of the page: the head, what needs attention, all tables at a glance, each table, each
//! job.

use super::html::{Figure, escaped, table};
use super::table_part::table_part;
use super::{in_words, tables};
use crate::cli::printer::{count, number, size};
use crate::commands::job_status::JobStatus;
use crate::commands::report::{
    Attention, AttentionPart, JobHistoryReport, LakeReport, TableHistoryReport,
};

/// The most tables that are open at first.
const MOST_OPEN: usize = 3;

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

pub(super) fn badge(is_good: bool, good: &str, bad: &str) -> String {
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
    let item = |attention: &Attention| {
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

pub(super) fn age(table: &TableHistoryReport) -> Option<String> {
    Some(match table.age_days? {
        0 => "today".to_owned(),
        1 => "yesterday".to_owned(),
        days if days > 1 => format!("{} days ago", number(days.unsigned_abs())),
        days => format!("in {}", count(days.unsigned_abs(), "day")),
    })
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
