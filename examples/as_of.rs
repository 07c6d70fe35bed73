//! Counts the rows of a table as of a date, and prints the columns that it had then.
//!
//! ```sh
//! cargo run --example as_of -- lake item 2024-09-14
//! ```

#![allow(clippy::print_stdout, reason = "an example prints")]

use asof::Lake;
use chrono::NaiveDate;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [lake, table, date] = arguments.as_slice() else {
        return Err("usage: as_of LAKE TABLE DATE".into());
    };
    let date: NaiveDate = date.parse()?;

    let lake = Lake::open(lake)?;
    let rows = lake.table(table)?.as_of(date)?;
    println!("{table} as of {date}: the copy of {}", rows.snapshot_date());
    for field in rows.schema().fields() {
        println!("  {} {}", field.name(), field.data_type());
    }

    let mut count = 0;
    for batch in rows.read(&[])? {
        count += batch?.num_rows();
    }
    println!("{count} rows");
    Ok(())
}
