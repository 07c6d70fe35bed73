//! Intervals of a condition and of selected columns: what they say, and what they must not be taken
//! for.

use super::environment::{World, text};

#[test]
fn intervals_of_a_condition_say_when_each_item_was_active() {
    let mut world = World::shop(3);
    world.succeeds("compact item --where \"status = 'ACTIVE'\" --select id");
    world.tell(&world.rows("lake/item/intervals/item.parquet").join("\n"));
    world.succeeds("compact item");
    world.succeeds("status item");
    world.succeeds("history item 2");
    world.succeeds("verify item");
    let report = world.json("compact item");
    assert_eq!(
        (&report[0]["where"], &report[0]["select"]),
        (&"status = 'ACTIVE'".into(), &vec!["id"].into())
    );
    assert_eq!(
        (&report[0]["intervals"], &report[0]["open"]),
        (&4.into(), &2.into())
    );
    world.tell("all rows of two columns");
    world.succeeds("compact item --where '' --select status");
    world.tell(&world.rows("lake/item/intervals/item.parquet").join("\n"));
    world.tell("all of the table again");
    world.succeeds("compact item --select ''");
    world.succeeds("verify item");
    world.pin("selections");
}

#[test]
fn what_cannot_be_selected_is_refused() {
    let mut world = World::shop(2);
    world.refuses(2, "compact item --where \"state = 'ACTIVE'\"");
    world.refuses(2, "compact item --where \"status\"");
    world.refuses(2, "compact item --where \"status = \"");
    world.refuses(2, "compact item --where \"price > random()\"");
    world.refuses(3, "compact item --where \"1 / (id - 2) > 0\"");
    world.refuses(2, "compact item --select prices");
    world.refuses(2, "compact item --select price --track status");
    world.refuses(2, "compact item --start-column price");
    world.tell("a column that is not selected does not clash");
    world.succeeds("compact item --start-column price --select name");
    world.tell(&world.rows("lake/item/intervals/item.parquet").join("\n"));
    world.write(
        "asof.toml",
        "lake = \"lake\"\n\n[tables.item]\nkey = [\"id\"]\nwhere = \"state = 'ACTIVE'\"\n",
    );
    world.refuses(2, "compact item");
    world.pin("selections_refused");
}

#[test]
fn intervals_of_a_condition_do_not_stand_for_the_table() {
    let mut world = World::shop(3);
    let job = "backfill --events item_events --events-layout 'year=%Y/month=%m/day=%d' --table \
     item --on item_id=id --how left \
               --from 2024-03-01 --to 2024-03-03";
    assert_eq!(
        world
            .quietly(&format!("{job} --out expected/out --using snapshots"))
            .status
            .code(),
        Some(0)
    );
    let shown = |world: &World| {
        ["01", "02", "03"].map(|day| {
            text(
                &world
                    .quietly(&format!("show item --date 2024-03-{day}"))
                    .stdout,
            )
        })
    };
    let before = shown(&world);
    assert_eq!(
        world
            .quietly("compact item --where \"status = 'ACTIVE'\"")
            .status
            .code(),
        Some(0)
    );
    assert_eq!(
        world
            .quietly(&format!("{job} --out found/out"))
            .status
            .code(),
        Some(0)
    );
    assert_eq!(world.tree("found"), world.tree("expected"));
    assert_eq!(shown(&world), before);
    world.refuses(2, &format!("{job} --out none --using intervals"));
    world.refuses(
        2,
        "expand item --from 2024-03-01 --to 2024-03-03 --out lake/item/snapshots",
    );
    world.succeeds("expand item --from 2024-03-02 --to 2024-03-03 --out copies");
    world.tell(
        &world
            .rows("copies/snapshot_date=2024-03-03/item.parquet")
            .join("\n"),
    );
    world.tell("without the snapshot there is nothing that tells how the table was");
    std::fs::remove_dir_all(world.path("lake/item/snapshots/snapshot_date=2024-03-02"))
        .expect("removed");
    world.asof(&format!("{job} --out gone"));
    world.succeeds("show item --date 2024-03-02");
    world.succeeds("verify item");
    world.refuses(3, "compact item --full");
    world.pin("selections_are_not_the_table");
}

#[test]
fn a_condition_over_one_file_of_pyarrow_gives_what_duckdb_finds() {
    let mut world = World::new();
    let script = "
import datetime, random, duckdb, pyarrow as pa, pyarrow.parquet as pq
random.seed(11)
first = datetime.date(2024, 1, 1)
statuses = ['ACTIVE', 'PASSIVE', None]
rows = [(day, key, random.choice(statuses), random.random()) for day in range(40) for key in \
range(50) if random.random() < 0.9]
random.shuffle(rows)
days, ids, status, noise = zip(*rows)
dates = pa.array([first + datetime.timedelta(day) for day in days], pa.date32())
frame = pa.table({'seen': dates, 'id': ids, 'status': status, 'noise': noise})
pq.write_table(frame, 'many.parquet', row_group_size=100)
islands = duckdb.sql('''
  with days as (select distinct seen from frame), numbered as (select seen, dense_rank() over \
  (order by seen) as n from days),
  active as (select id, n from frame join numbered using (seen) where status = 'ACTIVE'),
  marked as (select id, n, n - row_number() over (partition by id order by n) as island from active)
  select id, min(n), max(n) from marked group by id, island order by id, min(n)''').fetchall()
day = lambda n: str(first + datetime.timedelta(n - 1))
print('\\n'.join(f'{id}|{day(a)}|{\"9999-12-31\" if b == 40 else day(b)}' for id, a, b in islands))
";
    std::fs::write(world.path("make.py"), script).expect("written");
    let python = std::env::var("ASOF_TEST_PYTHON").expect("tests/run sets it");
    let output = world
        .prepared(&python, &["make.py".to_owned()])
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let compact = "compact many --snapshots many.parquet --date-column seen --key id";
    world.succeeds(&format!(
        "{compact} --where \"status = 'ACTIVE'\" --select id --out i.parquet"
    ));
    let found = world.rows("i.parquet").split_off(1);
    assert_eq!(
        found,
        text(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    );
}

#[test]
fn copies_of_another_tool_may_change_in_columns_that_are_not_selected() {
    let mut world = World::new();
    world.write(
        "c/2024-01-01.csv",
        "id,status,note\n1,ACTIVE,5\n2,PASSIVE,6\n2,PASSIVE,6\n",
    );
    world.write(
        "c/2024-01-02.csv",
        "id,status,note\n1,ACTIVE,n/a\n2,PASSIVE,7\n",
    );
    world.write("c/2024-01-03.csv", "id,status,note\n2,ACTIVE,8\n");
    let compact = "compact t --snapshots c --layout %Y-%m-%d.csv --key id --where \"status = \
     'ACTIVE'\" --select status --out i.parquet";
    let expected = [
        "id|status|active_start|active_end",
        "1|ACTIVE|2024-01-01|2024-01-02",
        "2|ACTIVE|2024-01-03|9999-12-31",
    ];
    world.succeeds(compact);
    assert_eq!(world.rows("i.parquet"), expected);
    world.succeeds(compact);
    world.write("c/2024-01-04.csv", "id,status,note\n2,,1.5\n");
    world.succeeds(compact);
    assert_eq!(world.rows("i.parquet")[2], "2|ACTIVE|2024-01-03|2024-01-03");
    let incremental = world.bytes("i.parquet");
    world.succeeds(&format!("{compact} --full"));
    assert!(
        world.bytes("i.parquet") == incremental,
        "a full run gives other bytes"
    );
    world.write(
        "c/2024-01-02.csv",
        "id,status,note\n1,PASSIVE,n/a\n2,PASSIVE,7\n",
    );
    world.succeeds(compact);
    assert_eq!(world.rows("i.parquet")[1], "1|ACTIVE|2024-01-01|2024-01-01");
    world.pin("selections_external");
}
