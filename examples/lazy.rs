//! Reads a table as of its first date, joins orders to the items as of each order's date, and counts
//! what changed, with lazy frames of polars. The table's key is `id`, an integer.
//!
//! ```sh
//! cargo run --example lazy --features lazy -- lake item
//! ```
//!
//! For readers, writers and more expressions, add `polars` of the version that asof uses: the
//! frames are the same types.

#![allow(clippy::print_stdout, reason = "an example prints")]

use asof::{JoinAsOf, Lake};
use polars_core::prelude::*;
use polars_lazy::dsl::{col, lit};
use polars_lazy::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [lake, table] = arguments.as_slice() else {
        return Err("usage: lazy LAKE TABLE".into());
    };
    let lake = Lake::open(lake)?;
    let item = lake.table(table)?;
    let dates = item.dates()?;
    let (Some(first), Some(last)) = (dates.first(), dates.last()) else {
        return Err("the table has no copies".into());
    };

    // Only the column `id` is read, and row groups without such a row are skipped.
    let then = item.as_of(*first)?.lazy()?;
    let then = then
        .filter(col("id").lt(lit(100)))
        .select([col("id")])
        .collect()?;
    println!("on {first}, {} items have an id below 100", then.height());

    // Each order is joined to the item as of the order's date.
    let orders = df!(
        "order" => [101, 102],
        "item_id" => [1i64, 1],
        "day" => [first.to_string(), last.to_string()],
    )?;
    let join = JoinAsOf::new("day").on([("item_id", "id")]);
    let joined = item.join_lazy_as_of(orders.lazy(), &join)?;
    let joined = joined.collect()?;
    println!(
        "{} orders, with {:?}",
        joined.height(),
        joined.get_column_names()
    );

    // What changed in between.
    let changes = item.diff(*first, *last)?.frame()?;
    println!("{} changes until {last}", changes.height());
    Ok(())
}
