//! Joins events to a table as of the day of each event, one output file per day.
//!
//! ```sh
//! cargo run --example join -- lake item item_events 2024-09-13 2024-09-15 joined
//! ```
//!
//! The events are in folders such as `item_events/year=2024/month=09/day=13`. Run it twice: the
//! second run writes nothing.

#![allow(clippy::print_stdout, reason = "an example prints")]

use asof::{BackfillOptions, DateAction, Job, JoinKind, Lake};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [lake, table, events, from, to, output] = arguments.as_slice() else {
        return Err("usage: join LAKE TABLE EVENTS FROM TO OUTPUT".into());
    };

    let job = Job::join(events, table)
        .events_layout("year=%Y/month=%m/day=%d")
        .on([("item_id", "id")])
        .how(JoinKind::Left)
        .select(["name", "status"])
        .output(output);
    let options = BackfillOptions::between(from.parse()?, to.parse()?)?;
    let report = Lake::open(lake)?.backfill(&job, &options)?;

    for date in &report.dates {
        match (date.action, &date.error) {
            (DateAction::Failed, Some(error)) => println!("{} failed: {error}", date.date),
            (action, _) => println!("{} {action:?}, rows: {:?}", date.date, date.rows),
        }
    }
    Ok(())
}
