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
    assert_eq!(world.rows("snapshots/out/date=2024-03-02/out.parquet"), ["n|id|code", "1|1|7", "2|2|10"]);
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
