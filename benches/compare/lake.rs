//! A lake as asof itself writes it, made on all cores.

use std::fs::File;
use std::path::Path;

use asof::domain::digest::RowSum;
use asof::engine::changes::record;
use asof::engine::table::all_digests;
use asof::source::TypeRules;
use asof::storage::lake::LakeRoot;
use asof::storage::lake::location::Location;
use asof::storage::parquet::footer::{self, Content, Footer, SnapshotFooter};
use asof::storage::parquet::writer::ObjectWriter;

use crate::table::{Shape, Table};
use crate::{Result, date_of, on_all_cores};

/// Keys made at a time.
const PIECE: usize = 65_536;
/// To be raised when other rows are made of the same arguments.
const VERSION: u32 = 2;

/// Writes the snapshots of table `item` into a lake.
pub(crate) fn write(lake: &Path, shape: Shape, days: u16, rows: u64) -> Result {
    on_all_cores(days, |range| {
        let mut table = Table::on_day(shape, rows, range.start)?;
        for day in range.clone() {
            if day > range.start {
                table.next_day()?;
            }
            write_snapshot(lake, &table, shape, day)?;
        }
        Ok(())
    })?;
    record_changes(lake, shape, days)
}

/// Writes beside each snapshot what it changed, as `asof snapshot` does.
fn record_changes(lake: &Path, shape: Shape, days: u16) -> Result {
    let table = asof::engine::table::SnapshotTable {
        name: "item".parse()?,
        key: shape.key(),
        key_is_given: false,
        root: Location::local(lake.join("item/snapshots")),
        layout: LakeRoot::layout()?,
        own: true,
        types: TypeRules::default(),
        format: asof::source::FormatRule::default(),
        dated: None,
        dedup: None,
        dedup_is_given: false,
        has_source_of_dates: false,
    };
    let found = table.find(None)?.partitions;
    on_all_cores(days, |range| {
        for day in range.start.max(1)..range.end {
            let open = |day: u16| table.open(date_of(day), &found[&date_of(day)], None);
            record(&table, open(day - 1)?, open(day)?)?;
        }
        Ok(())
    })
}

fn write_snapshot(lake: &Path, table: &Table, shape: Shape, day: u16) -> Result {
    let folder = lake.join(format!("item/snapshots/snapshot_date={}", date_of(day)));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("item.parquet");
    let mut writer = ObjectWriter::create(
        File::create(&path)?,
        &table.batch(0..0)?.schema(),
        &shape.key(),
        &Location::local(&path),
    )?;
    let mut sum = RowSum::default();
    for start in (0..table.keys()).step_by(PIECE) {
        let batch = table.batch(start..(start + PIECE as u64).min(table.keys()))?;
        sum.add(&all_digests(&batch)?);
        writer.write(batch)?;
    }
    let footer = SnapshotFooter {
        table: "item".into(),
        snapshot_date: date_of(day),
        key: shape.key(),
        rows: sum.rows(),
        fingerprint: sum.fingerprint(),
        source: None,
        dated_source: None,
        taken_at: None,
        published_at: None,
        backdated: false,
        absent: Some(Vec::new()),
        dedup: None,
        dropped_rows: None,
        not_compared: None,
        forced: vec![],
        refused: Vec::new(),
        asof_version: "bench".into(),
    };
    writer.finish(&Footer::new(Content::Snapshot(footer)))?;
    Ok(())
}

/// What is another one when lakes would have other rows, footers or fingerprints.
pub(crate) fn stamp() -> Result<String> {
    let mut sum = RowSum::default();
    sum.add(&all_digests(
        &Table::on_day(Shape::Int, 1000, 3)?.batch(0..1000)?,
    )?);
    Ok(format!(
        "{VERSION}-{}-{}",
        footer::VERSION,
        sum.fingerprint()
    ))
}
