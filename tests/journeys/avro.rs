//! Avro files as sources, external copies and events.

use super::date_columns::python;
use super::environment::World;

/// Two days of a table of every type that polars writes as Avro, and what asof makes of them.
const WRITE: &str = "
import datetime, decimal, polars as pl
frame = pl.DataFrame({
    'id': [1, 2, 3, None][:3],
    'small': pl.Series([1, None, -3], dtype=pl.Int32),
    'text': ['', 'pen', None],
    'flag': [True, None, False],
    'single': pl.Series([1.5, None, -0.0], dtype=pl.Float32),
    'double': [0.1, float('inf'), None],
    'day': [datetime.date(2024, 2, 29), None, datetime.date(1, 1, 1)],
    'at': pl.Series([datetime.datetime(2024, 2, 29, 23, 59, 59, 123456), None, datetime.datetime(1969, 12, 31)], dtype=pl.Datetime('us')),
    'bytes': [b'\\x00\\xff', None, b''],
    'tags': [['a', 'b'], None, []],
})
for day, compression in [('2024-03-01', 'uncompressed'), ('2024-03-02', 'snappy'), ('2024-03-03', \
'deflate')]:
    frame.write_avro(f'{day}.avro', compression=compression)
    frame = frame.with_columns(pl.when(pl.col('id') == 2).then(pl.lit('nib')).otherwise(pl.col('text')).alias('text'))
";

const COMPARE: &str = "
import polars as pl
for day in ['2024-03-01', '2024-03-02', '2024-03-03']:
    given, found = pl.read_avro(f'{day}.avro'), pl.read_parquet(f'lake/item/snapshots/snapshot_date={day}/item.parquet', hive_partitioning=False)
    assert set(given.columns) == set(found.columns), (given.columns, found.columns)
    for column in given.columns:
        one, other = given[column].to_list(), found[column].to_list()
        assert one == other, (day, column, one, other)
";

#[test]
fn avro_files_are_read_value_by_value() {
    let mut world = World::new();
    world.write("asof.toml", "lake = 'lake'\n[tables.item]\nkey = ['id']\n");
    python(&world, WRITE);
    for day in ["2024-03-01", "2024-03-02", "2024-03-03"] {
        world.at(day);
        world.succeeds(&format!("snapshot item --source {day}.avro"));
    }
    python(&world, COMPARE);
    world.succeeds("check item --source 2024-03-01.avro");
    std::fs::create_dir(world.path("copies")).expect("a folder");
    for day in ["2024-03-01", "2024-03-02", "2024-03-03"] {
        std::fs::copy(
            world.path(&format!("{day}.avro")),
            world.path(&format!("copies/{day}")),
        )
        .expect("copied");
    }
    world.succeeds(
        "compact copy --snapshots copies --layout %Y-%m-%d --key id --out copies.parquet",
    );
    world.succeeds("compact item --out own.parquet");
    assert_eq!(
        world.rows("copies.parquet"),
        world.rows("own.parquet"),
        "external copies, told by their first bytes"
    );
    world.succeeds(
        "backfill --events copies --events-layout %Y-%m-%d --table item --on id --select text \
         --out out --from 2024-03-02 --to 2024-03-02",
    );
    let whole = world.bytes("2024-03-03.avro");
    world.at("2024-03-04");
    for cut in [4, 40, whole.len() - 20] {
        world.write("cut.avro", &whole[..cut]);
        world.refuses(3, "snapshot item --source cut.avro");
    }
    world.write("no.avro", "id,text\n1,a\n");
    world.refuses(3, "snapshot item --source no.avro");
    world.pin("avro");
}
