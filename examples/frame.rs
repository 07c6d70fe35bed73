//! What changed in a table between two dates, as polars data frames.
//!
//! ```sh
//! cargo run --example frame -- lake item 2024-09-13 2024-09-14
//! ```
//!
//! For lazy frames, expressions and Parquet, add `polars` of the version that asof uses, with the
//! features that you need: the frames are the same type.

#![allow(clippy::print_stdout, reason = "an example prints")]

use asof::Lake;
use chrono::NaiveDate;
use polars_core::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [lake, table, first, second] = arguments.as_slice() else {
        return Err("usage: frame LAKE TABLE DATE DATE".into());
    };
    let lake = Lake::open(lake)?;
    let table = lake.table(table)?;

    let frame_on = |date: &str| -> Result<DataFrame, Box<dyn std::error::Error>> {
        let date: NaiveDate = date.parse()?;
        Ok(table.as_of(date)?.frame(&[])?)
    };
    let (before, after) = (frame_on(first)?, frame_on(second)?);
    println!("{} rows became {}", before.height(), after.height());

    for column in after.columns() {
        let series = column.as_materialized_series();
        let earlier = before.column(column.name()).ok();
        let mean = |series: &Series| match series.mean() {
            Some(mean) => format!(", mean {mean:.2}"),
            None => String::new(),
        };
        let change = match earlier.map(Column::as_materialized_series) {
            None => "is new".to_owned(),
            Some(earlier) if earlier.equals_missing(series) => "is as it was".to_owned(),
            Some(earlier) => format!("had {} nulls{}", earlier.null_count(), mean(earlier)),
        };
        let (name, dtype, nulls) = (column.name(), column.dtype(), column.null_count());
        println!("{name} {dtype}: {nulls} nulls{}; it {change}", mean(series));
    }
    Ok(())
}
