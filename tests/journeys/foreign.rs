//! Dated copies that other tools write.

use std::io::Write as _;

use super::environment::World;

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
fn a_foreign_lake_is_compacted_where_it_lies() {
    let mut world = copies();
    let before = world.tree("copies");
    world.succeeds("compact --snapshots copies --layout '%Y-%m-%d.csv.gz' --key code --out intervals.parquet");
    world.succeeds("compact --snapshots copies --layout '%Y-%m-%d.csv.gz' --key code --out intervals.parquet");
    world.tell(&world.rows("intervals.parquet").join("\n"));
    world.succeeds("compact place --snapshots copies --layout '%Y-%m-%d.csv.gz' --key code --out folder");
    world.succeeds("expand place --intervals intervals.parquet --from 2024-01-01 --to 2024-01-04 --out back");
    assert_eq!(before, world.tree("copies"), "a foreign lake is never written to");
    world.pin("foreign");
}

#[test]
fn a_foreign_lake_in_the_configuration_is_a_table() {
    let mut world = copies();
    world.write("asof.toml", "lake = 'lake'\n[tables.place]\nkey = ['code']\nsnapshots = 'copies'\nlayout = '%Y-%m-%d.csv.gz'\n");
    let before = world.tree("copies");
    world.succeeds("show place --date 2024-01-02");
    world.succeeds("compact place");
    world.succeeds("history place B");
    world.succeeds("verify place");
    world.succeeds("status");
    world.refuses(2, "snapshot place --source copies/2024-01-01.csv.gz");
    assert_eq!(before, world.tree("copies"), "a foreign lake is never written to");
    world.pin("foreign_table");
}

#[test]
fn a_partition_may_hold_several_files_and_a_column_may_come() {
    let mut world = World::new();
    world.write("copies/snapshot_date=2024-01-01/part-0.ndjson", "{\"id\":1,\"v\":1}\n");
    world.write("copies/snapshot_date=2024-01-01/part-1.ndjson", "{\"id\":2,\"v\":2}\n");
    world.write("copies/snapshot_date=2024-01-01/_SUCCESS", "");
    world.write("copies/snapshot_date=2024-01-02/part-0.ndjson", "{\"id\":1,\"v\":1,\"w\":\"new\"}\n{\"id\":2,\"v\":2,\"w\":null}\n");
    world.write("copies/snapshot_date=__HIVE_DEFAULT_PARTITION__/part-0.ndjson", "{\"id\":3}\n");
    world.succeeds("compact --snapshots copies --layout 'snapshot_date=%Y-%m-%d' --key id --out i.parquet");
    world.tell(&world.rows("i.parquet").join("\n"));
    world.pin("foreign_parts");
}

#[test]
fn text_that_was_text_is_read_alike_from_copies_and_from_intervals() {
    let mut world = World::new();
    world.write("f/day=2024-03-01/x.csv", "id,code\n1,A7\n2,B\n");
    world.write("f/day=2024-03-02/x.csv", "id,code\n1,7\n2,10\n");
    world.write("ev/day=2024-03-02/e.csv", "n,id\n1,1\n2,2\n");
    world.write("asof.toml", "lake = 'lake'\n[tables.t]\nkey = ['id']\nsnapshots = 'f'\nlayout = 'day=%Y-%m-%d'\n");
    world.succeeds("compact t");
    let job = "backfill --events ev --events-layout day=%Y-%m-%d --table t --on id --how left --from 2024-03-02 --to 2024-03-02";
    for from in ["snapshots", "intervals"] {
        world.succeeds(&format!("{job} --using {from} --out {from}/out"));
    }
    assert_eq!(world.rows("snapshots/out/date=2024-03-02/out.parquet"), ["n|id|day|code", "1|1|2024-03-02|7", "2|2|2024-03-02|10"]);
    let bytes = |from: &str| world.bytes(&format!("{from}/out/date=2024-03-02/out.parquet"));
    assert!(bytes("snapshots") == bytes("intervals"), "the outputs differ, or what their footers say of the snapshot");
}

#[test]
fn a_foreign_lake_is_not_written_to_even_if_asked() {
    let world = World::new();
    let shop = World::shop(1);
    let copy = shop.bytes("lake/item/snapshots/snapshot_date=2024-03-01/item.parquet");
    world.write("copies/2024-03-01.parquet", &copy);
    for out in ["copies/2024-03-01.parquet --full", "copies"] {
        let before = world.tree("");
        let code = world.quietly(&format!("compact --snapshots copies --layout %Y-%m-%d.parquet --key id --out {out}")).status.code();
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
    let job = "--lake lake backfill --events ev --table item --on id --out out --from 2024-03-01 --to 2024-03-01";
    world.refuses(3, &format!("{job} --events-layout year=%Y/month=%m/day=%d"));
    world.succeeds("partitions ev --layout year=%Y/month=%m/day=%d --from 2024-03-01 --to 2024-03-05");
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
    world.write("copies/dt=2024-03-01/000000_0", shop.bytes("lake/item/snapshots/snapshot_date=2024-03-01/item.parquet"));
    world.succeeds("compact --snapshots copies --layout dt=%Y-%m-%d --key id --out intervals.parquet");
    world.write("texts/dt=2024-03-01/000000_0", "id,name\n1,pen\n");
    let command = "compact --snapshots texts --layout dt=%Y-%m-%d --key id --out texts.parquet";
    world.refuses(2, command);
    world.succeeds(&format!("{command} --source-format csv"));
    world.write("asof.toml", "lake = 'lake'\n[tables.t]\nkey = ['id']\nsnapshots = 'texts'\nlayout = 'dt=%Y-%m-%d'\n");
    world.refuses(2, "show t --date 2024-03-01");
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.t]\nkey = ['id']\nsnapshots = 'texts'\nlayout = 'dt=%Y-%m-%d'\nsource_format = 'csv'\n\
         [events.e]\npath = 'texts'\nlayout = 'dt=%Y-%m-%d'\n[jobs.j]\nevents = 'e'\ntable = 't'\non = ['id']\noutput = 'out'\n",
    );
    world.succeeds("show t --date 2024-03-01");
    world.refuses(2, "backfill j --from 2024-03-01 --to 2024-03-01");
    world.refuses(2, "snapshot other --source texts/dt=2024-03-01/000000_0 --key id");
    world.pin("without_endings");
}

#[test]
fn a_table_of_another_format_is_refused() {
    let mut world = World::new();
    world.write("item.csv", "id,name\n1,pen\n");
    world.succeeds("snapshot item --lake lake --source item.csv --key id");
    for (folder, log) in
        [("delta", "_delta_log/00000000000000000000.json"), ("iceberg", "metadata/v1.metadata.json"), ("hudi", ".hoodie/hoodie.properties")]
    {
        world.write(&format!("{folder}/{log}"), "{}");
        world.write(&format!("{folder}/date=2024-03-01/x.csv"), "id\n1\n");
        world.refuses(3, &format!("--lake lake snapshot other --source {folder} --key id"));
        world.refuses(3, &format!("compact --snapshots {folder} --layout date=%Y-%m-%d --key id --out out.parquet"));
        let job = "backfill --table item --on id --out out --from 2024-03-01 --to 2024-03-01";
        world.refuses(3, &format!("--lake lake {job} --events {folder} --events-layout date=%Y-%m-%d"));
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
    assert_eq!(world.quietly("--lake lake snapshot item --source item.csv --key id").status.code(), Some(0));
    for ending in ["parquet", "arrow", "ipc", "csv", "ndjson"] {
        for part in 0..200i64 {
            let path = format!("{ending}/date=2024-03-01/part-{part}.{ending}");
            let column: ArrayRef = Arc::new(Int64Array::from(vec![part]));
            let rows = RecordBatch::try_from_iter([("id", column)]).expect("rows");
            let mut bytes = Vec::new();
            match ending {
                "parquet" => {
                    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, rows.schema(), None).expect("a writer");
                    writer.write(&rows).expect("written");
                    writer.close().expect("closed");
                }
                "arrow" => {
                    let mut writer = arrow::ipc::writer::FileWriter::try_new(&mut bytes, &rows.schema()).expect("a writer");
                    writer.write(&rows).expect("written");
                    writer.finish().expect("closed");
                }
                "ipc" => {
                    let mut writer = arrow::ipc::writer::StreamWriter::try_new(&mut bytes, &rows.schema()).expect("a writer");
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
            format!("compact --snapshots {ending} --layout date=%Y-%m-%d --key id --out {ending}.parquet"),
            format!(
                "backfill --events {ending} --events-layout date=%Y-%m-%d --table item --on id --out out/{ending} --from 2024-03-01 --to 2024-03-01"
            ),
        ] {
            let limited = format!("ulimit -n 64; exec '{}' --no-progress --lake lake {command}", super::environment::ASOF);
            let output = world.prepared("bash", &["-c".to_owned(), limited]).output().expect("bash starts");
            assert_eq!(output.status.code(), Some(0), "{command}: {}", super::environment::text(&output.stderr));
        }
        assert_eq!(world.rows(&format!("{ending}.parquet")).len(), 201);
        assert_eq!(world.rows(&format!("out/{ending}/date=2024-03-01/{ending}.parquet")).len(), 201);
    }
}
