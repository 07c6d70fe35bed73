//! Histories in jobs: no query sees a row later than its date, so what comes later changes no
//! output.
//!
//! The model is a lake that never had the later copies. Whatever a query gives there for a date, it
//! has to give, byte for byte, in the lake with all copies: from snapshots, from published
//! intervals, and in a run over many dates, whose intervals are computed once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{Days, NaiveDate};
use proptest::prelude::*;

use super::{AdHoc, BackfillOptions, DateAction, DateReport, ResolvedJob, backfill};
use crate::commands::compact::{CompactOptions, compact};
use crate::commands::testing::{TestLake, date, rewrite};
use crate::config::{JobConfig, TableConfig};
use crate::engine::as_of::RowSource;
use crate::error::Kind;
use crate::model::{DateRange, DaySpan};
use crate::storage::lake::location::Location;
use crate::storage::parquet::footer::Content;
use crate::storage::parquet::object::ParquetObject;

/// Copies of a table by the day they are labelled with: for each key its price and its tag.
type History = BTreeMap<u64, Vec<(i64, u8, Option<u8>)>>;

fn day(number: u64) -> NaiveDate {
    date("2024-01-01") + Days::new(number)
}

/// A copy as CSV. The price is a fraction or a whole number, and the tag comes and goes as a
/// column.
fn csv(rows: &[(i64, u8, Option<u8>)]) -> String {
    let tagged = rows.iter().any(|(_, _, tag)| tag.is_some());
    let mut text = if tagged {
        "id,price,tag\n"
    } else {
        "id,price\n"
    }
    .to_owned();
    for (id, price, tag) in rows {
        let price = if *price >= 6 {
            format!("{price}.5")
        } else {
            price.to_string()
        };
        text += &format!("{id},{price}");
        text += &match (tagged, tag) {
            (true, Some(tag)) => format!(",t{tag}\n"),
            (true, None) => ",\n".to_owned(),
            (false, _) => "\n".to_owned(),
        };
    }
    text
}

fn lake(history: &History, until: u64, config: &TableConfig) -> TestLake {
    let mut lake = TestLake::new();
    lake.config.tables.insert("item".into(), config.clone());
    for (number, rows) in history.range(..=until) {
        lake.take(&day(*number).to_string(), &csv(rows));
    }
    lake
}

/// Runs a query on the days of a range, and gives their reports and the objects of the written
/// ones.
fn run(
    lake: &TestLake,
    out: &str,
    sql: &str,
    days: std::ops::RangeInclusive<u64>,
    using: RowSource,
) -> Vec<(DateReport, Vec<u8>)> {
    let file = lake.path().join("job.sql");
    std::fs::write(&file, sql).expect("written");
    let job = JobConfig {
        sql_file: Some("job.sql".into()),
        output: format!("{out}/job"),
        ..JobConfig::default()
    };
    let range = DateRange::new(day(*days.start()), day(*days.end())).expect("a range");
    let options = BackfillOptions {
        using,
        workers: Some(2),
        ad_hoc: Some(AdHoc {
            job,
            ..AdHoc::default()
        }),
        ..BackfillOptions::of_range(range)
    };
    let reports = match backfill(&lake.workspace(), &[], &options) {
        Ok(mut reports) => reports.remove(0).dates,
        // A mistake of the job is told once.
        Err(error) => vec![
            DateReport::new(
                *options
                    .range
                    .dates()
                    .collect::<Vec<_>>()
                    .first()
                    .expect("a date"),
            )
            .failed(&error),
        ],
    };
    let object = |report: &DateReport| -> PathBuf {
        lake.path()
            .join(out)
            .join(format!("job/date={}/job.parquet", report.date))
    };
    let read = |report: &DateReport| std::fs::read(object(report)).unwrap_or_default();
    reports
        .into_iter()
        .map(|report| {
            let bytes = read(&report);
            (report, bytes)
        })
        .collect()
}

/// What matters of a result: its bytes, or the kind of failure. A message may name copies that the
/// model does not have.
fn outcome((report, bytes): &(DateReport, Vec<u8>)) -> (Option<Kind>, Vec<u8>) {
    (report.kind, bytes.clone())
}

fn rows(path: PathBuf) -> Vec<String> {
    let object = ParquetObject::open(&Location::local(path)).expect("it opens");
    let mut rows = Vec::new();
    for batch in object.read(None).expect("a stream") {
        let batch = batch.expect("rows");
        for row in 0..batch.num_rows() {
            let cells =
                batch
                    .schema_ref()
                    .fields()
                    .iter()
                    .zip(batch.columns())
                    .map(|(field, column)| {
                        format!(
                            "{}:{}={}",
                            field.name(),
                            field.data_type(),
                            crate::domain::cast::display(column, row)
                        )
                    });
            rows.push(cells.collect::<Vec<_>>().join(" "));
        }
    }
    rows
}

fn histories() -> impl Strategy<Value = History> {
    let row = (0u8..9, proptest::option::weighted(0.3, 0u8..3));
    let copy = proptest::collection::btree_map(0i64..5, row, 1..5);
    let copy = copy.prop_map(|rows| {
        rows.into_iter()
            .map(|(id, (price, tag))| (id, price, tag))
            .collect()
    });
    proptest::collection::btree_map(0u64..9, copy, 2..7)
}

fn conditions() -> impl Strategy<Value = String> {
    let one = (0usize..7, 0u32..5, 0u32..5).prop_map(|(form, a, b)| match form {
        0 => "snapshot_date = {date}".to_owned(),
        1 => format!("snapshot_date >= {{date}} - INTERVAL '{a} days'"),
        2 => format!("snapshot_date < {{yesterday}} - INTERVAL '{a} days'"),
        3 => format!(
            "snapshot_date between {{date}} - INTERVAL '{} days' and {{date}} - INTERVAL \
             '{b} days'",
            a + b
        ),
        4 => format!(
            "snapshot_date in ({{date}} - INTERVAL '{a} days', {{date}} - INTERVAL '{b} \
             days')"
        ),
        5 => "snapshot_date > {date}".to_owned(),
        _ => format!("id >= {a}"),
    });
    proptest::collection::vec(one, 0..3).prop_map(|all| {
        all.into_iter()
            .fold("true".to_owned(), |text, one| text + " and " + &one)
    })
}

fn queries() -> impl Strategy<Value = String> {
    (0usize..7, conditions(), conditions()).prop_map(|(form, one, other)| match form {
        0 => format!("select * from item_snapshots where {one}"),
        1 => format!(
            "select snapshot_date, count(*) as n, sum(price) as price from \
             item_snapshots where {one} group by snapshot_date order by 1"
        ),
        2 => "select * from item_intervals".to_owned(),
        3 => "select id, count(*) as n, max(active_end) as until, sum(price) as price from \
         item_intervals group by id order by id"
            .to_owned(),
        4 => {
            let one = one
                .replace("id >=", "a.id >=")
                .replace("snapshot_date", "a.snapshot_date");
            let other = other
                .replace("id >=", "b.id >=")
                .replace("snapshot_date", "b.snapshot_date");
            format!(
                "select a.id, a.price, b.price as old, b.snapshot_date from item_snapshots a \
                 left join item_snapshots b on a.id = b.id and {other} where {one} order by 1, 2, 3, 4"
            )
        }
        5 => format!("select id, price, tag from item_snapshots where {one}"),
        _ => format!(
            "select s.id, s.snapshot_date, i.active_start, i.active_end, i.price from \
             item_snapshots s join item_intervals i on s.id = i.id and s.snapshot_date between \
             i.active_start and coalesce(i.active_end, {{date}}) where {} order by 1, 2, 3",
            one.replace("id >=", "s.id >=")
        ),
    })
}

fn settings() -> impl Strategy<Value = TableConfig> {
    (
        0usize..4,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        0u32..2,
        0usize..6,
    )
        .prop_map(|(gaps, exclusive, open_null, ignore, lag, condition)| {
            let text = |text: &str| Some(text.to_owned());
            TableConfig {
                key: vec!["id".into()],
                gaps: [None, text("split"), text("error"), text("carry")][gaps].clone(),
                max_gap: (gaps == 3).then_some(2),
                end: exclusive.then(|| "exclusive".to_owned()),
                open_end: open_null.then(|| "null".to_owned()),
                ignore: if ignore {
                    vec!["price".into()]
                } else {
                    Vec::new()
                },
                // A whole number is halved as one, and a fraction is not, whichever of them comes
                // first.
                condition: [None, text("price >= 3"), text("price / 2 > 2")]
                    .get(condition)
                    .cloned()
                    .flatten(),
                lag: Some(DaySpan(lag)),
                tolerance: Some(DaySpan(3)),
                ..TableConfig::default()
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn nothing_later_than_the_date_is_visible(
        history in histories(),
        query in queries(),
        config in settings(),
        number in 1u64..9,
    ) {
        let lag = u64::from(config.lag.map_or(0, |lag| lag.0));
        let label = number.saturating_sub(lag);
        let model = lake(&history, label, &config);
        let expected = outcome(&run(&model, "out", &query, number..=number, RowSource::Auto)[0]);
        if expected.0 == Some(Kind::Usage) {
            // A column that only later copies have is null where the query names it: there is no
            // earlier output that could change.
            prop_assert!(query.contains("tag"), "{}", query);
            return Ok(());
        }
        let whole = lake(&history, 99, &config);
        let found = outcome(&run(&whole, "out", &query, number..=number, RowSource::Auto)[0]);
        prop_assert_eq!(&found.0, &expected.0, "from snapshots: {}", query);
        prop_assert!(found == expected, "other bytes from snapshots: {}", query);

        // In a run over many dates; there may be dates whose types differ, which are refused.
        for result in run(&whole, "many", &query, number.saturating_sub(3)..=number + 3, RowSource::Auto) {
            if result.0.date == day(number) && result.0.action == DateAction::Written {
                prop_assert!(result.1 == expected.1, "other bytes in a run over many \
                 dates: {}", query);
            }
        }

        // With published intervals, as far as they can be made.
        let compacted = compact(&whole.workspace(), &["item".into()], &CompactOptions::default()).is_ok();
        let again = outcome(&run(&whole, "published", &query, number..=number, RowSource::Auto)[0]);
        prop_assert_eq!(&again.0, &expected.0, "from published intervals: {}", query);
        prop_assert!(again == expected, "other bytes from published intervals: {}", query);
        if compacted && config.ignore.is_empty() && config.condition.is_none() {
            let only = outcome(&run(&whole, "only", &query, number..=number, RowSource::Intervals)[0]);
            prop_assert!(only == expected, "other bytes from intervals alone: {}: {:?}", query, only.0);
        }

        // The intervals of a query are those that a compaction makes of the same copies.
        if query == "select * from item_intervals" && expected.0.is_none() {
            compact(&model.workspace(), &["item".into()], &CompactOptions::default()).expect("intervals");
            prop_assert_eq!(rows(model.intervals()), rows(model.path().join(format!("out/job/date={}/job.parquet", day(number)))));
        }
    }
}

/// What the outputs of two days are, after a run of the job.
fn states(lake: &TestLake) -> Vec<&'static str> {
    let range = DateRange::new(day(0), day(1)).expect("a range");
    let workspace = lake.workspace();
    let job = ResolvedJob::resolve_to_look(&workspace, "job", range).expect("a job");
    let states = job.states(&[day(0), day(1)]).into_iter();
    states.map(|state| state.expect("a state").name()).collect()
}

#[test]
fn comments_and_white_space_are_no_change_of_a_job_nor_is_the_hash_of_earlier_programs() {
    let mut lake = TestLake::new();
    lake.take("2024-01-01", "id,price\n1,10\n");
    lake.take("2024-01-02", "id,price\n1,11\n");
    let with = |lake: &mut TestLake, sql: &str| {
        let job = JobConfig {
            sql: Some(sql.to_owned()),
            output: "out".into(),
            ..JobConfig::default()
        };
        lake.config.jobs.insert("job".into(), job);
    };
    let run = |lake: &TestLake| {
        let range = DateRange::new(day(0), day(1)).expect("a range");
        let options = BackfillOptions::of_range(range);
        backfill(&lake.workspace(), &["job".to_owned()], &options).expect("a run");
    };
    let query = "select id, price\nfrom item -- as of the day\nwhere price > 1";
    with(&mut lake, query);
    run(&lake);
    let is_current = ["up_to_date"; 2];
    assert_eq!(states(&lake), is_current);
    with(
        &mut lake,
        "/* the same */ select id,price from item where price>1",
    );
    assert_eq!(states(&lake), is_current);
    with(&mut lake, "select id, price from item where price > 2");
    assert_eq!(states(&lake), ["stale"; 2]);
    // As earlier programs wrote them: by the text.
    with(&mut lake, query);
    let range = DateRange::single(day(0));
    let workspace = lake.workspace();
    let job = ResolvedJob::resolve_to_look(&workspace, "job", range).expect("a job");
    let text = job.hash.former();
    assert_ne!(text, job.hash.current);
    for number in 0..2 {
        let path = format!("out/date={}/job.parquet", day(number));
        rewrite(
            &lake.path().join(path),
            |rows| rows,
            |footer| {
                if let Content::Output(output) = &mut footer.content {
                    output.inputs.job = text.to_owned();
                }
            },
        );
    }
    assert_eq!(states(&lake), is_current);
}
