//! What is refused, or told, when rows of other tools are read.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int64Array, TimestampMicrosecondArray};

use super::environment::World;

#[test]
fn infinity_is_refused_in_snapshots_copies_and_events() {
    let mut world = World::new();
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let columns: [(&str, ArrayRef); 3] = [
        (
            "date",
            Arc::new(Date32Array::from(vec![Some(19_000), Some(i32::MAX)])),
        ),
        (
            "minus",
            Arc::new(Date32Array::from(vec![Some(-i32::MAX), None])),
        ),
        (
            "time",
            Arc::new(TimestampMicrosecondArray::from(vec![0, i64::MAX]).with_timezone("UTC")),
        ),
    ];
    world.write("item.csv", "id,name\n1,pen\n2,ink\n");
    assert_eq!(
        world
            .quietly("snapshot item --lake lake --source item.csv --key id")
            .status
            .code(),
        Some(0)
    );
    for (name, column) in columns {
        let rows = [("id", ids.clone()), ("until", column)];
        for path in [
            "source.parquet",
            "copies/day=2024-03-01/a.parquet",
            "ev/day=2024-03-01/a.parquet",
        ] {
            world.parquet(path, &rows);
        }
        world.refuses(
            3,
            &format!("snapshot {name} --lake lake --source source.parquet --key id"),
        );
        world.refuses(
            3,
            &format!(
                "compact {name} --snapshots copies --layout day=%Y-%m-%d --key \
                 id --out {name}.parquet"
            ),
        );
        let backfill = "backfill --lake lake --events ev --events-layout day=%Y-%m-%d --table \
         item --on id --from 2024-03-01 --to 2024-03-01";
        assert_eq!(world.asof(&format!("{backfill} --out out")), 3);
    }
    world.tell("the end of an interval that is open in other tools is a date");
    world.parquet(
        "source.parquet",
        &[
            ("id", ids),
            (
                "until",
                Arc::new(Date32Array::from(vec![2_932_896, -719_162])),
            ),
        ],
    );
    world.succeeds("snapshot open --lake lake --source source.parquet --key id");
    world.succeeds("show open --lake lake --date 2024-03-01");
    world.pin("infinity");
}

#[test]
fn a_column_whose_case_changes_is_the_same_column() {
    let mut world = World::new();
    let days = [
        "Id,Name,code\n1,pen,007\n2,ink,8\n",
        "ID,NAME,Code\n1,pen,7\n2,ink,8\n",
        "id,name,CODE\n1,pen,007\n2,ink,8\n",
    ];
    for (day, csv) in (1..).zip(days) {
        world.at(&format!("2024-03-0{day}"));
        world.write("item.csv", csv);
        let key = if day == 1 { " --key Id" } else { "" };
        world.succeeds(&format!("snapshot item --lake lake --source item.csv{key}"));
    }
    world.succeeds("compact item --lake lake");
    world.tell(&world.rows("lake/item/intervals/item.parquet").join("\n"));
    world.tell("copies of another tool keep their own names");
    for (day, csv) in (1..).zip(days) {
        world.write(
            &format!("copies/day=2024-03-0{day}/a.csv"),
            csv.replace("Id", "id").replace("ID", "id"),
        );
    }
    world.succeeds("compact --snapshots copies --layout day=%Y-%m-%d --key id --out out.parquet");
    world.tell("two columns in one copy");
    world.write("item.csv", "id,name,Name\n1,a,b\n");
    world.succeeds("snapshot twins --lake lake --source item.csv --key id");
    world.pin("spelling");
}
