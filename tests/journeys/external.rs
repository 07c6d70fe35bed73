//! Dated copies that other tools write.

use std::io::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};

use super::environment::{World, text};

fn zipped(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("in memory");
    encoder.finish().expect("in memory")
}

fn copies() -> World {
    let world = World::new();
    world.write("copies/2024-01-01.csv.gz", zipped("code,name\nA,x\nB,y\n"));
    world.write("copies/2024-01-02.csv.gz", zipped("code,name\nA,x\nB,z\n"));
    world.write("copies/2024-01-04.csv.gz", zipped("code,name\nA,x\n"));
    world
}

#[test]
fn an_external_table_is_compacted_where_it_lies() {
    let mut world = copies();
    let before = world.tree("copies");
    world.succeeds(
        "compact --snapshots copies --layout '%Y-%m-%d.csv.gz' --key code --out intervals.parquet",
    );
    world.succeeds(
        "compact --snapshots copies --layout '%Y-%m-%d.csv.gz' --key code --out intervals.parquet",
    );
    world.tell(&world.rows("intervals.parquet").join("\n"));
    world.succeeds(
        "compact place --snapshots copies --layout '%Y-%m-%d.csv.gz' --key code --out folder",
    );
    world.succeeds(
        "expand place --intervals intervals.parquet --from 2024-01-01 --to 2024-01-04 --out back",
    );
    assert_eq!(
        before,
        world.tree("copies"),
        "an external table is never written to"
    );
    world.pin("external");
}

#[test]
fn an_external_table_in_the_configuration_is_a_table() {
    let mut world = copies();
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.place]\nkey = ['code']\nsnapshots = \
         'copies'\nlayout = '%Y-%m-%d.csv.gz'\n",
    );
    let before = world.tree("copies");
    world.succeeds("show place --date 2024-01-02");
    world.succeeds("compact place");
    world.succeeds("history place B");
    world.succeeds("verify place");
    world.succeeds("status");
    world.refuses(2, "snapshot place --source copies/2024-01-01.csv.gz");
    assert_eq!(
        before,
        world.tree("copies"),
        "an external table is never written to"
    );
    world.pin("external_table");
}

#[test]
fn a_partition_may_hold_several_files_and_a_column_may_come() {
    let mut world = World::new();
    world.write(
        "copies/snapshot_date=2024-01-01/part-0.ndjson",
        "{\"id\":1,\"v\":1}\n",
    );
    world.write(
        "copies/snapshot_date=2024-01-01/part-1.ndjson",
        "{\"id\":2,\"v\":2}\n",
    );
    world.write("copies/snapshot_date=2024-01-01/_SUCCESS", "");
    world.write(
        "copies/snapshot_date=2024-01-02/part-0.ndjson",
        "{\"id\":1,\"v\":1,\"w\":\"new\"}\n{\"id\":2,\"v\":2,\"w\":null}\n",
    );
    world.write(
        "copies/snapshot_date=__HIVE_DEFAULT_PARTITION__/part-0.ndjson",
        "{\"id\":3}\n",
    );
    world.succeeds(
        "compact --snapshots copies --layout 'snapshot_date=%Y-%m-%d' --key id --out i.parquet",
    );
    world.tell(&world.rows("i.parquet").join("\n"));
    world.pin("external_parts");
}

#[test]
fn text_that_was_text_is_read_alike_from_copies_and_from_intervals() {
    let mut world = World::new();
    world.write("f/day=2024-03-01/x.csv", "id,code\n1,A7\n2,B\n");
    world.write("f/day=2024-03-02/x.csv", "id,code\n1,7\n2,10\n");
    world.write("ev/day=2024-03-02/e.csv", "n,id\n1,1\n2,2\n");
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.t]\nkey = ['id']\nsnapshots = 'f'\nlayout = 'day=%Y-%m-%d'\n",
    );
    world.succeeds("compact t");
    let job = "backfill --events ev --events-layout day=%Y-%m-%d --table t --on id --how left \
     --from 2024-03-02 --to 2024-03-02";
    for from in ["snapshots", "intervals"] {
        world.succeeds(&format!("{job} --using {from} --out {from}/out"));
    }
    assert_eq!(
        world.rows("snapshots/out/date=2024-03-02/out.parquet"),
        ["n|id|day|code", "1|1|2024-03-02|7", "2|2|2024-03-02|10"]
    );
    let bytes = |from: &str| world.bytes(&format!("{from}/out/date=2024-03-02/out.parquet"));
    assert!(
        bytes("snapshots") == bytes("intervals"),
        "the outputs differ, or what their footers say of the snapshot"
    );
}

#[test]
fn an_external_table_is_not_written_to_even_if_asked() {
    let world = World::new();
    let shop = World::shop(1);
    let copy = shop.bytes("lake/item/snapshots/snapshot_date=2024-03-01/item.parquet");
    world.write("copies/2024-03-01.parquet", &copy);
    for out in ["copies/2024-03-01.parquet --full", "copies"] {
        let before = world.tree("");
        let code = world
            .quietly(&format!(
                "compact --snapshots copies --layout %Y-%m-%d.parquet --key id --out {out}"
            ))
            .status
            .code();
        assert!(matches!(code, Some(2 | 3)), "{out}: {code:?}");
        assert_eq!(before, world.tree(""), "{out}");
    }
}

#[test]
fn partitions_in_another_padding_are_told() {
    let mut world = World::new();
    world.write("item.csv", "id,name\n1,pen\n");
    world.succeeds("snapshot item --lake lake --source item.csv --key id");
    world.write("ev/year=2024/month=3/day=1/e.csv", "n,id\n1,1\n");
    let job = "--lake lake backfill --events ev --table item --on id --out out --from 2024-03-01 \
     --to 2024-03-01";
    world.refuses(3, &format!("{job} --events-layout year=%Y/month=%m/day=%d"));
    world.succeeds(
        "partitions ev --layout year=%Y/month=%m/day=%d --from 2024-03-01 --to 2024-03-05",
    );
    world.succeeds(&format!("{job} --events-layout year=%Y/month=%-m/day=%-d"));
    world.tell("beside padded ones, the unpadded ones are told");
    world.write("mixed/month=2024-02/x.csv", "");
    world.write("mixed/date=2024-03-01/x.csv", "id\n1\n");
    world.write("mixed/date=2024-3-2/x.csv", "id\n2\n");
    world.succeeds("compact --snapshots mixed --layout date=%Y-%m-%d --key id --out out.parquet");
    world.pin("other_paddings");
}

#[test]
fn files_without_an_ending_are_told_by_their_first_bytes_or_declared() {
    let mut world = World::new();
    let shop = World::shop(1);
    world.write(
        "copies/dt=2024-03-01/000000_0",
        shop.bytes("lake/item/snapshots/snapshot_date=2024-03-01/item.parquet"),
    );
    world.succeeds(
        "compact --snapshots copies --layout dt=%Y-%m-%d --key id --out intervals.parquet",
    );
    world.write("texts/dt=2024-03-01/000000_0", "id,name\n1,pen\n");
    let command = "compact --snapshots texts --layout dt=%Y-%m-%d --key id --out texts.parquet";
    world.refuses(2, command);
    world.succeeds(&format!("{command} --source-format csv"));
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.t]\nkey = ['id']\nsnapshots = 'texts'\nlayout = 'dt=%Y-%m-%d'\n",
    );
    world.refuses(2, "show t --date 2024-03-01");
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.t]\nkey = ['id']\nsnapshots = 'texts'\nlayout = \
         'dt=%Y-%m-%d'\nsource_format = 'csv'\n\
         [events.e]\npath = 'texts'\nlayout = 'dt=%Y-%m-%d'\n[jobs.j]\nevents = 'e'\ntable = \
         't'\non = ['id']\noutput = 'out'\n",
    );
    world.succeeds("show t --date 2024-03-01");
    world.refuses(2, "backfill j --from 2024-03-01 --to 2024-03-01");
    world.refuses(
        2,
        "snapshot other --source texts/dt=2024-03-01/000000_0 --key id",
    );
    world.pin("without_endings");
}

#[test]
fn a_table_of_another_format_is_refused() {
    let mut world = World::new();
    world.write("item.csv", "id,name\n1,pen\n");
    world.succeeds("snapshot item --lake lake --source item.csv --key id");
    for (folder, log) in [
        ("delta", "_delta_log/00000000000000000000.json"),
        ("iceberg", "metadata/v1.metadata.json"),
        ("hudi", ".hoodie/hoodie.properties"),
    ] {
        world.write(&format!("{folder}/{log}"), "{}");
        world.write(&format!("{folder}/date=2024-03-01/x.csv"), "id\n1\n");
        world.refuses(
            3,
            &format!("--lake lake snapshot other --source {folder} --key id"),
        );
        world.refuses(
            3,
            &format!(
                "compact --snapshots {folder} --layout date=%Y-%m-%d --key id --out out.parquet"
            ),
        );
        let job = "backfill --table item --on id --out out --from 2024-03-01 --to 2024-03-01";
        world.refuses(
            3,
            &format!("--lake lake {job} --events {folder} --events-layout date=%Y-%m-%d"),
        );
    }
    world.pin("tables_of_other_formats");
}

/// A process may have 64 files open here, and a date has 200.
#[test]
fn a_date_may_have_more_files_than_a_process_may_open() {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use std::sync::Arc;
    let world = World::new();
    world.write("item.csv", "id\n7\n");
    assert_eq!(
        world
            .quietly("--lake lake snapshot item --source item.csv --key id")
            .status
            .code(),
        Some(0)
    );
    for ending in ["parquet", "arrow", "ipc", "csv", "ndjson"] {
        for part in 0..200i64 {
            let path = format!("{ending}/date=2024-03-01/part-{part}.{ending}");
            let column: ArrayRef = Arc::new(Int64Array::from(vec![part]));
            let rows = RecordBatch::try_from_iter([("id", column)]).expect("rows");
            let mut bytes = Vec::new();
            match ending {
                "parquet" => {
                    let mut writer =
                        parquet::arrow::ArrowWriter::try_new(&mut bytes, rows.schema(), None)
                            .expect("a writer");
                    writer.write(&rows).expect("written");
                    writer.close().expect("closed");
                }
                "arrow" => {
                    let mut writer =
                        arrow::ipc::writer::FileWriter::try_new(&mut bytes, &rows.schema())
                            .expect("a writer");
                    writer.write(&rows).expect("written");
                    writer.finish().expect("closed");
                }
                "ipc" => {
                    let mut writer =
                        arrow::ipc::writer::StreamWriter::try_new(&mut bytes, &rows.schema())
                            .expect("a writer");
                    writer.write(&rows).expect("written");
                    writer.finish().expect("closed");
                }
                "csv" => bytes.extend(format!("id\n{part}\n").bytes()),
                _ => bytes.extend(format!("{{\"id\":{part}}}\n").bytes()),
            }
            world.write(&path, bytes);
        }
        for command in [
            format!("snapshot {ending} --source {ending} --key id"),
            format!(
                "compact --snapshots {ending} --layout date=%Y-%m-%d --key id --out \
                 {ending}.parquet"
            ),
            format!(
                "backfill --events {ending} --events-layout date=%Y-%m-%d --table item --on id \
                 --out out/{ending} --from 2024-03-01 --to 2024-03-01"
            ),
        ] {
            let limited = format!(
                "ulimit -n 64; exec '{}' --no-progress --lake lake {command}",
                super::environment::ASOF
            );
            let output = world
                .prepared("bash", &["-c".to_owned(), limited])
                .output()
                .expect("bash starts");
            assert_eq!(
                output.status.code(),
                Some(0),
                "{command}: {}",
                super::environment::text(&output.stderr)
            );
        }
        assert_eq!(world.rows(&format!("{ending}.parquet")).len(), 201);
        assert_eq!(
            world
                .rows(&format!("out/{ending}/date=2024-03-01/{ending}.parquet"))
                .len(),
            201
        );
    }
}

/// Three dates of two columns in one file, in the order of `rows`, and the same rows in folders.
fn dated_rows(world: &World, rows: &[(&str, &str)]) {
    let lines: Vec<String> = rows
        .iter()
        .map(|(date, row)| format!("{row},{date}\n"))
        .collect();
    world.write(
        "item_snapshot.csv",
        format!("id,name,status,snapshot_date\n{}", lines.concat()),
    );
    let mut dates: Vec<&str> = rows.iter().map(|(date, _)| *date).collect();
    dates.sort_unstable();
    dates.dedup();
    for date in dates {
        let of_date: Vec<String> = rows
            .iter()
            .filter(|(other, _)| *other == date)
            .map(|(_, row)| format!("{row}\n"))
            .collect();
        world.write(
            &format!("folders/snapshot_date={date}/x.csv"),
            format!("id,name,status\n{}", of_date.concat()),
        );
    }
}

#[test]
fn dates_in_a_column_give_the_intervals_of_the_same_rows_in_folders() {
    let mut world = World::new();
    let rows = [
        ("2024-09-15", "1,itemA,PASSIVE"),
        ("2024-09-13", "1,itemA,ACTIVE"),
        ("2024-09-14", "2,itemB,ACTIVE"),
        ("2024-09-14", "1,itemA,ACTIVE"),
        ("2024-09-17", "2,itemB,"),
    ];
    dated_rows(&world, &rows);
    world.succeeds(
        "compact item --snapshots folders --layout snapshot_date=%Y-%m-%d --key id \
         --out folders.parquet",
    );
    let compact = "compact item --snapshots item_snapshot.csv --date-column snapshot_date --key \
     id --out one.parquet";
    world.succeeds(compact);
    assert!(
        world.bytes("one.parquet") == world.bytes("folders.parquet"),
        "one file gives other intervals than folders"
    );
    let before = world.bytes("one.parquet");
    world.succeeds(compact);
    assert!(
        world.bytes("one.parquet") == before,
        "a second run changes nothing"
    );
    let mut one_more = rows.to_vec();
    one_more.push(("2024-09-18", "3,itemC,ACTIVE"));
    dated_rows(&world, &one_more);
    for (source, out) in [
        ("folders --layout snapshot_date=%Y-%m-%d", "folders"),
        ("item_snapshot.csv --date-column snapshot_date", "one"),
    ] {
        world.succeeds(&format!(
            "compact item --snapshots {source} --key id --out {out}.parquet"
        ));
        world.succeeds(&format!(
            "compact item --snapshots {source} --key id --from 2024-09-14 \
             --to 2024-09-15 --out {out}_range.parquet"
        ));
    }
    assert!(
        world.bytes("one.parquet") == world.bytes("folders.parquet"),
        "a date that was added"
    );
    assert!(
        world.bytes("one_range.parquet") == world.bytes("folders_range.parquet"),
        "a range of dates"
    );
}

#[test]
fn dates_in_a_column_may_be_text_in_a_format_or_timestamps_in_a_zone() {
    let mut world = World::new();
    world.write(
        "a/1.ndjson",
        "{\"id\":1,\"v\":1,\"at\":\"14/09/2024\"}\n{\"id\":1,\"v\":1,\"at\":\"13/09/2024\"}\n",
    );
    world.write("a/2.ndjson", "{\"id\":1,\"v\":2,\"at\":\"15/09/2024\"}\n");
    world.succeeds(
        "compact t --snapshots a --date-column at --date-format %d/%m/%Y --key id --out a.parquet",
    );
    world.write(
        "b.csv",
        "id,v,at\n1,1,20240913\n1,1,20240914\n1,2,20240915\n",
    );
    world.succeeds(
        "compact t --snapshots b.csv --date-column at --date-format %Y%m%d --key id \
         --out b.parquet",
    );
    // 23:30 in UTC is the next day in Helsinki.
    world.write(
        "c.csv",
        "id,v,at\n1,1,2024-09-12T23:30:00Z\n1,1,2024-09-14T10:00:00Z\n1,2,2024-09-14T23:30:00Z\n",
    );
    world.succeeds(
        "compact t --snapshots c.csv --date-column at --timezone Europe/Helsinki --key \
         id --out c.parquet",
    );
    let expected = [
        "id|v|active_start|active_end",
        "1|1|2024-09-13|2024-09-14",
        "1|2|2024-09-15|9999-12-31",
    ];
    for out in ["a.parquet", "b.parquet", "c.parquet"] {
        assert_eq!(world.rows(out), expected, "{out}");
    }
}

#[test]
fn rows_without_a_date_are_refused_with_their_count() {
    let mut world = World::new();
    world.write("x.csv", "id,v,day\n1,1,2024-09-13\n2,1,\n3,1,\n");
    world.refuses(
        3,
        "compact t --snapshots x.csv --date-column day --key id --out o.parquet",
    );
    world.write("y.csv", "id,v,day\n1,1,2024-09-13\n2,1,soon\n");
    world.refuses(
        3,
        "compact t --snapshots y.csv --date-column day --key id --out o.parquet",
    );
    world.refuses(
        2,
        "compact t --snapshots y.csv --date-column dya --key id --out o.parquet",
    );
    world.refuses(
        2,
        "compact t --snapshots y.csv --date-column v --key id --out o.parquet",
    );
    world.write("z.csv", "id,v,day\n1,1,2024-09-13\n1,2,2024-09-13\n");
    world.refuses(
        3,
        "compact t --snapshots z.csv --date-column day --key id --out o.parquet",
    );
    world.refuses(
        2,
        "compact t --snapshots z.csv --date-column day --key id --out z.csv",
    );
    world.pin("dates_in_a_column_refused");
}

#[test]
fn a_file_of_pyarrow_with_many_dates_gives_the_intervals_that_duckdb_finds() {
    let mut world = World::new();
    let script = "
import datetime, json, random, duckdb, pyarrow as pa, pyarrow.parquet as pq
random.seed(7)
first = datetime.date(2024, 1, 1)
rows = [(day, key, random.randrange(2)) for day in range(40) for key in range(50) if \
random.random() < 0.9]
random.shuffle(rows)
dates = [first + datetime.timedelta(day) for day, _, _ in rows]
ids, values = [key for _, key, _ in rows], [f'v{value}' for _, _, value in rows]
frame = pa.table({'seen': pa.array(dates, pa.date32()), 'id': ids, 'v': values})
pq.write_table(frame, 'many.parquet', row_group_size=100)
islands = duckdb.sql('''
  with days as (select distinct seen from frame), numbered as (select seen, dense_rank() over \
  (order by seen) as n from days),
  marked as (select id, v, n, n - row_number() over (partition by id, v order by n) as island \
  from frame join numbered using (seen))
  select id, v, min(n), max(n) from marked group by id, v, island order by id, min(n)''').fetchall()
day = lambda n: str(first + datetime.timedelta(n - 1))
print('\\n'.join(f'{id}|{v}|{day(a)}|{\"9999-12-31\" if b == 40 else day(b)}' for id, v, a, b in \
islands))
";
    std::fs::write(world.path("make.py"), script).expect("written");
    let python = std::env::var("ASOF_TEST_PYTHON").expect("tests/run sets it");
    let output = world
        .prepared(&python, &["make.py".to_owned()])
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    world.succeeds(
        "compact many --snapshots many.parquet --date-column seen --key id --out i.parquet",
    );
    let mut found = world.rows("i.parquet").split_off(1);
    let key = |row: &String| {
        let mut parts = row.split('|').map(str::to_owned).collect::<Vec<_>>();
        parts[0] = format!("{:>9}", parts[0]);
        (parts[0].clone(), parts[2].clone())
    };
    found.sort_by_key(key);
    assert_eq!(
        found,
        text(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    );
}

#[test]
fn folders_of_months_narrow_what_is_read_and_lose_no_row() {
    let mut world = World::new();
    world.write(
        "m/month=2024-09/a.csv",
        "id,v,d\n1,a,2024-09-29\n1,a,2024-09-30\n",
    );
    world.write(
        "m/month=2024-10/a.csv",
        "id,v,d\n1,a,2024-10-01\n1,b,2024-10-02\n",
    );
    let compact = "compact t --snapshots m --layout month=%Y-%m --date-column d --key id --full";
    world.succeeds(&format!("{compact} --out all.parquet"));
    assert_eq!(
        world.rows("all.parquet"),
        [
            "id|v|active_start|active_end",
            "1|a|2024-09-29|2024-10-01",
            "1|b|2024-10-02|9999-12-31"
        ]
    );
    world.succeeds(&format!(
        "{compact} --from 2024-09-30 --to 2024-10-02 --out some.parquet"
    ));
    assert_eq!(
        world.rows("some.parquet")[1..],
        ["1|a|2024-09-30|2024-10-01", "1|b|2024-10-02|9999-12-31"]
    );
    world.succeeds(&format!(
        "{compact} --from 2024-10-02 --to 2024-10-02 --out one.parquet"
    ));
    assert_eq!(
        world.rows("one.parquet")[1..],
        ["1|b|2024-10-02|9999-12-31"]
    );
    world.write("g/a.csv", "id,v,d\n1,a,2024-09-29\n");
    world.refuses(
        2,
        "compact t --snapshots 'g/*' --date-column d --key id --out g/iv.parquet",
    );
}

#[test]
fn copies_that_vanish_are_told_and_a_layout_that_matches_nothing_is_refused() {
    let mut world = World::new();
    for day in 1..=3 {
        world.write(
            &format!("copies/date=2024-01-0{day}/x.csv"),
            format!("id,v\n1,{day}\n"),
        );
    }
    let compact = |layout: &str| {
        format!("compact item --snapshots copies --layout '{layout}' --key id --out item.parquet")
    };
    world.succeeds(&compact("date=%Y-%m-%d"));
    let intervals = world.bytes("item.parquet");
    for layout in ["day=%Y-%m-%d", "%Y/%m/%d"] {
        world.refuses(3, &compact(layout));
    }
    std::fs::remove_dir_all(world.path("copies/date=2024-01-02")).expect("removed");
    world.succeeds(&compact("date=%Y-%m-%d"));
    assert!(world.bytes("item.parquet") == intervals);
    for day in [1, 3] {
        let copy = format!("copies/date=2024-01-0{day}");
        std::fs::remove_dir_all(world.path(&copy)).expect("removed");
    }
    world.refuses(3, &compact("date=%Y-%m-%d"));
    world.tell("nor is it silent of a table that asof.toml describes");
    for day in 1..=3 {
        world.write(
            &format!("copies/date=2024-01-0{day}/x.csv"),
            format!("id,v\n1,{day}\n"),
        );
    }
    let configure = |world: &World, layout: &str| {
        world.write(
            "asof.toml",
            format!(
                "lake = 'lake'\n[tables.item]\nkey = ['id']\nsnapshots = 'copies'\nlayout = \
                 '{layout}'\n"
            ),
        );
    };
    configure(&world, "date=%Y-%m-%d");
    world.succeeds("compact item");
    std::fs::remove_dir_all(world.path("copies/date=2024-01-02")).expect("removed");
    world.succeeds("status item");
    world.refuses(3, "compact item --full");
    configure(&world, "%Y/%m/%d");
    let before = world.tree("copies");
    world.succeeds("status item");
    world.refuses(3, "verify item");
    world.refuses(3, "compact item");
    std::fs::remove_file(world.path("lake/item/intervals/item.parquet")).expect("removed");
    world.refuses(3, "verify item");
    world.refuses(3, "schema item");
    assert_eq!(before, world.tree("copies"), "a copy was written to");
    world.tell("the whole folder is gone, as a disk that is not mounted");
    configure(&world, "date=%Y-%m-%d");
    world.quietly("compact item");
    std::fs::remove_dir_all(world.path("copies")).expect("removed");
    world.asof("status item");
    world.refuses(3, "verify item");
    world.refuses(2, "compact item");
    world.tell("and there are no intervals, either");
    std::fs::remove_file(world.path("lake/item/intervals/item.parquet")).expect("removed");
    world.refuses(2, "status item");
    world.refuses(2, "verify item");
    world.refuses(2, "show item 2024-01-02");
    world.pin("external_vanished");
}

#[test]
fn a_snapshot_that_was_deleted_is_told_with_the_command_that_writes_it_again() {
    let mut world = World::shop(3);
    world.succeeds("compact item");
    let snapshot = "lake/item/snapshots/snapshot_date=2024-03-02";
    let before = world.tree(snapshot);
    std::fs::remove_dir_all(world.path(snapshot)).expect("removed");
    let output = world.quietly("compact item");
    let said = super::environment::text(&output.stderr);
    assert!(
        said.contains("the snapshot of 2024-03-02 is gone"),
        "{said}"
    );
    let status = world.json("status item");
    assert_eq!(status["tables"][0]["pruned"][0], "2024-03-02");
    let (_, command) = said.split_once("asof expand").expect("a command");
    let command = command.split(" writes").next().expect("its end");
    assert_eq!(
        status["tables"][0]["restore_with"],
        format!("asof expand{command}").as_str()
    );
    world.succeeds(&format!("expand{command}"));
    assert_eq!(
        world.listing(snapshot),
        before.into_keys().collect::<Vec<_>>()
    );
    world.succeeds("verify item");
    assert!(world.quietly("compact item").stderr.is_empty());
}

#[test]
fn no_command_is_told_for_a_snapshot_that_the_intervals_cannot_give_back() {
    let world = World::shop(3);
    assert!(
        world
            .quietly("compact item --where 'id = 1'")
            .status
            .success()
    );
    std::fs::remove_dir_all(world.path("lake/item/snapshots/snapshot_date=2024-03-02"))
        .expect("removed");
    let output = world.quietly("compact item");
    let said = text(&output.stderr);
    assert!(
        said.contains("the snapshot of 2024-03-02 is gone"),
        "{said}"
    );
    assert!(!said.contains("asof expand"), "{said}");
    let status = world.json("status item");
    assert!(
        status["tables"][0].get("restore_with").is_none(),
        "{status}"
    );
}

/// A table whose copies another tool writes, and a job that reads one of its columns.
const TYPED_JOB: &str = "
[events.ev]
path = 'ev'
layout = '%Y-%m-%d.csv'
[jobs.j]
sql = 'select ev.n, item.name from ev join item on ev.id = item.id order by ev.n'
output = 'out'
";

#[test]
fn typed_copies_are_recognized_by_the_bytes_of_their_files() {
    let mut world = World::new();
    let table = "[tables.item]\nkey = ['id']\nsnapshots = 'copies'\nlayout = '%Y-%m-%d.parquet'\n";
    world.write("asof.toml", format!("lake = 'lake'\n{table}{TYPED_JOB}"));
    let write = |world: &World, ids: [i64; 2], names: [&str; 2]| {
        let ids: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
        let names: ArrayRef = Arc::new(StringArray::from(names.to_vec()));
        world.parquet("copies/2024-01-01.parquet", &[("id", ids), ("name", names)]);
    };
    world.write("ev/2024-01-01.csv", "n,id\n1,1\n2,2\n3,1\n");
    write(&world, [1, 2], ["pen", "ink"]);
    let backfill = "backfill j --from 2024-01-01 --to 2024-01-01";
    world.succeeds(backfill);
    let output = world.bytes("out/date=2024-01-01/j.parquet");
    world.tell("the same bytes, written anew");
    write(&world, [1, 2], ["pen", "ink"]);
    world.succeeds(backfill);
    assert_eq!(world.bytes("out/date=2024-01-01/j.parquet"), output);
    world.tell("the same rows in other bytes");
    write(&world, [2, 1], ["ink", "pen"]);
    world.succeeds(backfill);
    world.tell("another row");
    write(&world, [2, 1], ["ink", "cap"]);
    world.succeeds(backfill);
    assert_eq!(
        world.rows("out/date=2024-01-01/j.parquet"),
        ["n|name", "1|cap", "2|ink", "3|cap"]
    );
    world.pin("external_bytes");
}

#[test]
fn an_output_that_names_a_copy_by_its_rows_stays_up_to_date() {
    let mut world = World::new();
    let own = "[tables.item]\nkey = ['id']\n";
    world.write("asof.toml", format!("lake = 'lake'\n{own}{TYPED_JOB}"));
    world.write("item.csv", "id,name\n1,pen\n2,ink\n");
    world.write("ev/2024-01-01.csv", "n,id\n1,1\n2,2\n");
    world.at("2024-01-01");
    world.succeeds("snapshot item --source item.csv");
    let backfill = "backfill j --from 2024-01-01 --to 2024-01-01";
    world.succeeds(backfill);
    let output = world.bytes("out/date=2024-01-01/j.parquet");
    world.tell("read as copies of another tool");
    let external = "snapshots = 'lake/item/snapshots'\nlayout = 'snapshot_date=%Y-%m-%d'\n";
    world.write(
        "asof.toml",
        format!("lake = 'other'\n{own}{external}{TYPED_JOB}"),
    );
    world.succeeds(backfill);
    assert_eq!(world.bytes("out/date=2024-01-01/j.parquet"), output);
    world.pin("external_rows");
}
