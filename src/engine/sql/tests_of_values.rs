//! What a query gives of values at the edges of their types: the exact value, or an error.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array,
    StringArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::compute::filter_record_batch;
use arrow::util::display::array_value_to_string;

use super::*;
use crate::engine::expression::Condition;
use crate::error::Kind;

const ALL: QueryMemory = QueryMemory {
    budget: MemoryBudget(2 << 30),
    queries: 1,
};
/// 9999-12-31 as microseconds and days.
const OPEN_END: i64 = 253_402_214_400_000_000;
const LAST_DAY: i32 = 2_932_896;
/// 2024-01-01 00:00:00 and a nanosecond.
const NANOS: i64 = 1_704_067_200_000_000_001;

fn rows() -> RecordBatch {
    let decimals = |values: Vec<i128>, precision, scale| -> ArrayRef {
        Arc::new(
            Decimal128Array::from(values)
                .with_precision_and_scale(precision, scale)
                .expect("decimals"),
        )
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        (
            "small",
            Arc::new(Int32Array::from(vec![i32::MAX, i32::MIN, 3])),
        ),
        (
            "big",
            Arc::new(Int64Array::from(vec![i64::MAX, i64::MIN, 3])),
        ),
        ("huge", Arc::new(UInt64Array::from(vec![u64::MAX, 0, 3]))),
        ("price", decimals(vec![870, 110, 300], 10, 2)),
        (
            "wide",
            decimals(vec![10_i128.pow(38) - 1, 1 - 10_i128.pow(38), 3], 38, 0),
        ),
        ("f", Arc::new(Float64Array::from(vec![0.1, 1e300, 1e-20]))),
        ("f32", Arc::new(Float32Array::from(vec![0.1, 2.5, 1e-20]))),
        (
            "us",
            Arc::new(TimestampMicrosecondArray::from(vec![
                Some(OPEN_END),
                Some(NANOS / 1_000),
                None,
            ])),
        ),
        (
            "ns",
            Arc::new(TimestampNanosecondArray::from(vec![NANOS, NANOS - 1, 0])),
        ),
        ("d", Arc::new(Date32Array::from(vec![LAST_DAY, 19_723, 0]))),
        ("t", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
    ];
    RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .expect("a batch")
}

/// The rows of a query over `t`, a value of each column joined by `|`; they are the same whether or
/// not the relation filters.
#[track_caller]
fn answer(sql: &str) -> Result<Vec<String>> {
    let found = answer_of(sql, false)?;
    assert_eq!(answer_of(sql, true)?, found, "{sql}, filtered");
    Ok(found)
}

fn answer_of(sql: &str, filters: bool) -> Result<Vec<String>> {
    let rows = rows();
    let schema = rows.schema();
    let open: Open = Arc::new(move |scan| {
        let indices: Vec<usize> = scan
            .columns
            .iter()
            .map(|name| rows.schema().index_of(name).expect("a column"))
            .collect();
        let mut rows = rows.clone();
        if let Some(condition) = scan.condition {
            rows = filter_record_batch(&rows, &condition.holds(&rows)?).expect("rows");
        }
        let rows = rows.project(&indices).expect("columns");
        Ok(Box::new(std::iter::once(Ok(rows))) as Batches)
    });
    let relation = Relation {
        filters,
        ..Relation::new(schema, open)
    };
    let mut found = Vec::new();
    run(
        sql,
        vec![("t".to_owned(), relation)],
        ALL,
        &mut |_, batch| {
            for row in 0..batch.num_rows() {
                let values = batch
                    .columns()
                    .iter()
                    .map(|column| array_value_to_string(column, row).expect("text"));
                found.push(values.collect::<Vec<_>>().join("|"));
            }
            Ok(())
        },
    )?;
    Ok(found)
}

#[track_caller]
fn is(sql: &str, expected: &[&str]) {
    assert_eq!(
        answer(sql).unwrap_or_else(|error| panic!("{sql}: {error}")),
        expected,
        "{sql}"
    );
}

/// The ids for which a condition holds, in a query and in `--where` alike.
#[track_caller]
fn holds(condition: &str, expected: &[&str]) {
    is(
        &format!("select id from t where {condition} order by id"),
        expected,
    );
    let rows = rows();
    let parsed = Condition::parse(condition, &rows.schema())
        .unwrap_or_else(|error| panic!("{condition}: {error}"));
    let left = filter_record_batch(&rows, &parsed.mask(&rows).expect(condition)).expect("rows");
    let ids: Vec<String> = (0..left.num_rows())
        .map(|row| array_value_to_string(left.column(0), row).expect("text"))
        .collect();
    assert_eq!(ids, expected, "--where {condition}");
}

#[track_caller]
fn refused(sql: &str, kind: Kind, part: &str) {
    let error = answer(sql).expect_err(sql);
    assert_eq!(error.kind(), kind, "{sql}: {error}");
    assert!(error.to_string().contains(part), "{sql}: {error}");
    assert!(
        !["Some(", "Ident", "{ "]
            .iter()
            .any(|dump| error.to_string().contains(dump)),
        "{sql}: {error}"
    );
}

#[test]
fn literals_with_a_point_are_decimals() {
    holds("price = 8.70", &["1"]);
    holds("price = 1.1", &["2"]);
    holds("price in (8.70, 3)", &["1", "3"]);
    holds("price between 1.10 and 3.0", &["2", "3"]);
    holds("id = 1.5", &[]);
    is("select 0.1 + 0.2 as x", &["0.3"]);
    is("select price * 3 as x from t where id = 1", &["26.10"]);
    is("select 1e3 as x, 1.5e-3 as y", &["1000.0|0.0015"]);
}

#[test]
fn floats_stay_floats_beside_decimals() {
    holds("f = 0.1", &["1"]);
    holds("f > 1.5", &["2"]);
    holds("f < 0.00001", &["3"]);
    holds("f in (0.1, 2.5)", &["1"]);
    holds("f between 0.05 and 0.5", &["1"]);
    holds("f32 = 0.1", &["1"]);
    holds("f32 > 2.4 and f32 < 2.6", &["2"]);
    holds("f < price", &["1", "3"]);
    is(
        "select f + 0.2 as x from t where id = 1",
        &["0.30000000000000004"],
    );
    is(
        "select coalesce(f, 0.5) as x from t where id = 2",
        &["1e300"],
    );
    is(
        "select case when id = 1 then f else 0.25 end as x from t order by id",
        &["0.1", "0.25", "0.25"],
    );
    is(
        "select f as x from t union all select price from t where id = 1",
        &["0.1", "1e300", "1e-20", "8.7"],
    );
    is(
        "select 7 / 2.0 as a, price / 3 as b, 7 / 2 as c from t where id = 3",
        &["3.5|1.0|3"],
    );
}

#[test]
fn integers_never_wrap() {
    let large = [
        "small + small",
        "small * small",
        "big + 1",
        "big * 2",
        "-(big + 1)",
        "huge + huge",
        "huge * huge",
        "wide + 1",
        "wide * 10",
        "big << 1",
    ];
    for expression in large {
        refused(
            &format!("select {expression} as x from t where id = 1"),
            Kind::Refused,
            "does not fit",
        );
        refused(
            &format!("select id from t where {expression} > 0 and id = 1"),
            Kind::Refused,
            "does not fit",
        );
    }
    for expression in [
        "-small",
        "-big",
        "small - cast(1 as int)",
        "big - 1",
        "huge - cast(1 as bigint unsigned)",
        "wide - 1",
        "abs(big)",
        "abs(small)",
    ] {
        assert_eq!(
            answer(&format!("select {expression} as x from t where id = 2"))
                .expect_err(expression)
                .kind(),
            Kind::Refused
        );
    }
    refused(
        "select 9223372036854775807 + 1 as x",
        Kind::Refused,
        "9223372036854775807 + 1 does not fit int64",
    );
    refused(
        "select id from t group by id having max(big) + 1 > 0",
        Kind::Refused,
        "does not fit",
    );
    refused(
        "select a.id from t a join t b on a.big + 1 = b.big",
        Kind::Refused,
        "does not fit",
    );
    refused(
        "select sum(big + id) as x from t",
        Kind::Refused,
        "does not fit",
    );
    refused("select id << 64 as x from t", Kind::Refused, "does not fit");
    is("select small + 1 as x from t where id = 3", &["4"]);
    is(
        "select cast(small as bigint) + 1 as x from t where id = 1",
        &["2147483648"],
    );
    is(
        "select huge + id as x from t where id = 1",
        &["18446744073709551616"],
    );
    is(
        "select id << 3 as x, 17 >> 2 as y from t where id = 1",
        &["8|4"],
    );
    refused("select cast(big as int) as x from t", Kind::Refused, "");
    is(
        "select try_cast(big as int) as x from t order by id",
        &["", "", "3"],
    );
}

#[test]
fn sums_never_wrap() {
    let twice = "(select big, huge, wide, id from t where id = 1 union all select big, huge, \
     wide, id from t where id = 1)";
    refused(
        &format!("select sum(big) as x from {twice}"),
        Kind::Refused,
        "18446744073709551614 does not fit int64",
    );
    refused(
        &format!("select id, sum(big) as x from {twice} group by id"),
        Kind::Refused,
        "does not fit int64",
    );
    refused(
        &format!("select sum(huge) as x from {twice}"),
        Kind::Refused,
        "does not fit uint64",
    );
    refused(
        &format!("select sum(wide) as x from {twice}"),
        Kind::Refused,
        "does not fit decimal(38, 0)",
    );
    refused(
        &format!("select sum(big) over () as x from {twice}"),
        Kind::Refused,
        "does not fit int64",
    );
    is(
        &format!("select sum(cast(big as decimal(38, 0))) as x from {twice}"),
        &["18446744073709551614"],
    );
    is(
        &format!("select sum(distinct big) as x from {twice}"),
        &["9223372036854775807"],
    );
    // What is beyond the type on the way does not matter.
    is(
        "select sum(big) as x from (select big from t union all select 1 union all select -1)",
        &["2"],
    );
    is("select sum(wide) as x from t", &["3"]);
    is("select sum(huge) as x from t where id > 1", &["3"]);
    is(
        "select sum(id) over (order by id rows between 1 preceding and current row) as x from t",
        &["1", "3", "5"],
    );
    is(
        "select sum(big) over (order by id rows between 1 preceding and current row) as x from t",
        &["9223372036854775807", "-1", "-9223372036854775805"],
    );
    is(
        "select sum(id) filter (where id > 1) as x, sum(price) as y, sum(f32) > 2.5 as z from t",
        &["5|12.80|true"],
    );
    is(
        "select sum(big) as x, avg(id) as y from t where false",
        &["|"],
    );
}

#[test]
fn the_end_of_time_can_be_compared() {
    for end in [
        "'9999-12-31'",
        "'9999-12-31 00:00:00'",
        "date '9999-12-31'",
        "timestamp '9999-12-31 00:00:00'",
        "cast('9999-12-31' as timestamp)",
    ] {
        holds(&format!("us = {end}"), &["1"]);
        holds(&format!("us < {end}"), &["2"]);
        holds(&format!("us in ({end})"), &["1"]);
        holds(&format!("us between '2025-01-01' and {end}"), &["1"]);
        holds(&format!("ns < {end}"), &["1", "2", "3"]);
        holds(&format!("ns <> {end}"), &["1", "2", "3"]);
        holds(&format!("ns >= {end}"), &[]);
        holds(&format!("d = {end}"), &["1"]);
        holds(&format!("d < {end}"), &["2", "3"]);
        holds(&format!("coalesce(us, {end}) = {end}"), &["1", "3"]);
        holds(
            &format!("case when id = 3 then {end} else us end = {end}"),
            &["1", "3"],
        );
        holds(&format!("nullif(us, {end}) is null"), &["1", "3"]);
    }
    holds("ns < us", &["1"]);
    holds("us > ns", &["1"]);
    holds("ns > us", &["2"; 0]);
    holds("us < d", &[]);
    holds("us = d", &["1", "2"]);
    holds("ns = d", &["2", "3"]);
    holds("ns > timestamp '2024-01-01 00:00:00'", &["1"]);
    holds("ns = timestamp '2024-01-01 00:00:00.000000001'", &["1"]);
    holds("us = timestamp '2024-01-01 00:00:00.000000001'", &[]);
    holds("d < '2024-01-01 12:00:00'", &["2", "3"]);
    holds(
        "date_trunc('year', us) = timestamp '9999-01-01 00:00:00'",
        &["1"],
    );
    holds("date_trunc('month', d) = date '9999-12-01'", &["1"]);
    for (condition, count) in [
        ("< 9999", 3),
        ("<> 9999", 3),
        ("<= 2300", 3),
        ("> 1600", 3),
        ("between 1600 and 9999", 3),
        ("= 2024", 2),
    ] {
        is(
            &format!("select count(*) as n from t where extract(year from ns) {condition}"),
            &[&count.to_string()],
        );
    }
    is(
        "select count(*) as n from t a join t b on a.ns < b.us",
        &["4"],
    );
    is(
        "select count(*) as n from t a join t b on a.us = b.d",
        &["2"],
    );
    is(
        "select id from t where us in (select d from t) order by id",
        &["1", "2"],
    );
    is(
        "select us as x from t where id = 1 union all select d from t where id = 2",
        &["9999-12-31T00:00:00", "2024-01-01T00:00:00"],
    );
    is(
        "select greatest(ns, us) as x from t where id = 2",
        &["2024-01-01T00:00:00"],
    );
}

#[test]
fn nanoseconds_are_kept_or_refused() {
    refused(
        "select ns as x from t union all select us from t",
        Kind::Refused,
        "has nanoseconds",
    );
    refused(
        "select coalesce(ns, us) as x from t",
        Kind::Refused,
        "has nanoseconds",
    );
    refused(
        "select cast(ns as timestamp) as x from t",
        Kind::Refused,
        "has nanoseconds",
    );
    refused(
        "select cast('2024-01-01 00:00:00.1234567' || t as timestamp) as x from t",
        Kind::Refused,
        "",
    );
    is(
        "select coalesce(ns, timestamp '2024-01-01 00:00:00') as x from t where id = 1",
        &["2024-01-01T00:00:00.000000001"],
    );
    is(
        "select ns as x from t where id = 1 union all select ns from t where id = 3",
        &["2024-01-01T00:00:00.000000001", "1970-01-01T00:00:00"],
    );
    is(
        "select date_trunc('microsecond', ns) as x from t where id = 1",
        &["2024-01-01T00:00:00"],
    );
}

#[test]
fn dates_are_truncated_over_their_whole_range() {
    for (part, expected) in [
        ("year", "1969-01-01T00:00:00"),
        ("quarter", "1969-10-01T00:00:00"),
        ("month", "1969-12-01T00:00:00"),
        ("week", "1969-12-29T00:00:00"),
        ("day", "1969-12-31T00:00:00"),
        ("hour", "1969-12-31T23:00:00"),
        ("minute", "1969-12-31T23:59:00"),
        ("second", "1969-12-31T23:59:59"),
        ("millisecond", "1969-12-31T23:59:59.999"),
    ] {
        is(
            &format!("select date_trunc('{part}', timestamp '1969-12-31 23:59:59.9995') as x"),
            &[expected],
        );
        is(
            &format!(
                "select date_trunc('{part}', x) as x from (select timestamp '1969-12-31 \
                 23:59:59.9995' as x from t limit 1)"
            ),
            &[expected],
        );
    }
}

#[test]
fn clauses_that_would_be_ignored_are_refused() {
    for (sql, clause) in [
        ("select * from t tablesample (10 percent)", "TABLESAMPLE"),
        ("select * from t tablesample bernoulli (10)", "TABLESAMPLE"),
        ("select * from t sample 0.1", "SAMPLE"),
        ("select id from t prewhere id < 5", "PREWHERE"),
        ("select id from t final", "FINAL"),
        (
            "select id, sum(id) as x from t group by id with rollup",
            "WITH ROLLUP",
        ),
        (
            "select id, sum(id) as x from t group by id with cube",
            "WITH CUBE",
        ),
        (
            "select id, sum(id) as x from t group by id with totals",
            "WITH TOTALS",
        ),
        (
            "select id from t connect by prior id = id start with id = 1",
            "is not supported",
        ),
        ("select id from t partition (p0)", "PARTITION"),
        ("select id from t use index (i)", ""),
        ("select id from t for update", "FOR UPDATE"),
        ("select id from t for share", "FOR UPDATE"),
        ("select top 5 id from t", "TOP"),
        ("select id into x from t", "INTO"),
        (
            "select id from t lateral view explode(x) y as z",
            "LATERAL VIEW",
        ),
        ("select id from t cluster by id", "CLUSTER BY"),
        ("select id from t distribute by id", "DISTRIBUTE BY"),
        ("select id from t sort by id", "SORT BY"),
        ("select id from t settings max_threads = 1", "SETTINGS"),
        ("select id from t format JSON", "FORMAT"),
        (
            "select id from t order by id fetch first 1 rows with ties",
            "FETCH",
        ),
        (
            "select id from t order by id fetch first 10 percent rows only",
            "FETCH",
        ),
        ("select id from t limit 1 by id", "LIMIT ... BY"),
        ("select id from t order by id with fill", "WITH FILL"),
        ("select id from t for system_time as of '2024-01-01'", ""),
        (
            "select * from (select id from t prewhere id > 1) x",
            "PREWHERE",
        ),
        (
            "with x as (select id from t prewhere id > 1) select * from x",
            "PREWHERE",
        ),
        (
            "select id from t where id in (select id from t tablesample (10))",
            "TABLESAMPLE",
        ),
        (
            "select id from t union all select id from t prewhere id > 1",
            "PREWHERE",
        ),
        (
            "select sum(id) over (w order by id) as x from t window w as (partition by t)",
            "window",
        ),
        ("select string_agg(t, ',' limit 1) as x from t", ""),
        ("select * ilike 'i%' from t", "ILIKE"),
        ("select * rename (id as x) from t", "RENAME"),
        (
            "select id from t a asof join t b match_condition (a.id > b.id) on a.id = b.id",
            "ASOF JOIN",
        ),
        ("select id from t |> where id > 1", ""),
        ("from t", ""),
        ("select convert(int, t) as x from t", "CONVERT"),
        ("select t collate \"C\" as x from t", "COLLATE"),
        ("select quantile(0.5)(id) as x from t", "second list"),
        ("select $1 as x", "$1"),
        ("select t rlike 'a' as x from t", "RLIKE"),
        (
            "select id from t where id = any (select 1) format CSV",
            "FORMAT",
        ),
    ] {
        refused(sql, Kind::Usage, clause);
    }
    for condition in [
        "id in (select id from t)",
        "id collate \"C\" = 1",
        "t rlike 'a'",
        "id = $1",
    ] {
        let error = Condition::parse(condition, &rows().schema())
            .err()
            .unwrap_or_else(|| panic!("{condition}"));
        assert_eq!(error.kind(), Kind::Usage, "{condition}");
    }
}

#[test]
fn clauses_that_are_carried_out_are_not_refused() {
    is(
        "select id, sum(big) as x from t where id = 3 group by rollup (id) order by id nulls first",
        &["|3", "3|3"],
    );
    is(
        "select id from t qualify row_number() over (order by id desc) = 1",
        &["3"],
    );
    is(
        "select distinct on (id > 1) id from t order by id > 1, id",
        &["1", "2"],
    );
    is(
        "select * except (small, big, huge, price, wide, f, f32, us, ns, d) from t where id = 1",
        &["1|a"],
    );
    is("select id from t order by id limit 1 offset 1", &["2"]);
    is(
        "with recursive r as (select 1 as n union all select n + 1 from r where n < 3) select n \
         from r",
        &["1", "2", "3"],
    );
    is(
        "select a.id from t a left anti join (select 1 as id) b on a.id = b.id order by 1",
        &["2", "3"],
    );
    is(
        "select id > 1 as x, count(*) as n from t group by all order by 1",
        &["false|1", "true|2"],
    );
    is(
        "select string_agg(t, ',' order by id desc) as x from t",
        &["c,b,a"],
    );
    is("select id from t as final where id = 1", &["1"]);
}

#[test]
fn what_is_not_supported_is_said_in_a_sentence() {
    for sql in [
        "select id -> 'a' as x from t",
        "select t similar to any ('a') as x from t",
        "select id from t where (id, t) in ((1, 'a'))",
        "select unnest(t) as x from t",
        "select nosuch(id) as x from t",
        "select x'zz' as x",
        "select id from t natural join nosuch",
        "select cast(id as nosuch) as x from t",
        "select id from t pivot (sum(id) for t in ('a'))",
        "select array(select 1) as x",
        "select @x as x",
        "select !id as x from t",
    ] {
        if let Err(error) = answer(sql) {
            let message = error.to_string();
            assert!(
                !["Some(", "Ident", "Span", "{ ", "Function("]
                    .iter()
                    .any(|dump| message.contains(dump)),
                "{sql}: {message}"
            );
            assert!(
                !message.contains('\n') && message.len() < 300,
                "{sql}: {message}"
            );
        }
    }
}
