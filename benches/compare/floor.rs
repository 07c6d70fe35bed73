//! Parts of the work that no tool can leave out.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use asof::storage::lake::location::Location;
use asof::storage::parquet::object::ParquetObject;
use asof::storage::parquet::writer::ObjectWriter;
use serde_json::json;

use crate::{Result, cores};

/// Decodes every column of every file and does nothing with it.
pub(crate) fn decode(folder: &Path) -> Result {
    println!("{} rows", rows_of(&files_below(folder)?)?);
    Ok(())
}

/// Does the work of a compaction that every tool would have to do, each part on all cores and timed
/// alone.
pub(crate) fn compaction(lake: &Path, out: &Path) -> Result {
    let snapshots = files_below(&lake.join("item/snapshots"))?;
    let changes = files_below(&lake.join("item/_changes"))?;
    if changes.len() + 1 != snapshots.len() {
        return Err(format!("{} snapshots, {} changes", snapshots.len(), changes.len()).into());
    }
    let open = |file: &Path| ParquetObject::open(&Location::local(file));
    let intervals = open(&lake.join("item/intervals/item.parquet"))?;
    let rows = intervals
        .read_on_all_processors(None)?
        .collect::<asof::error::Result<Vec<_>>>()?;

    let begun = Instant::now();
    for batch in open(&snapshots[0])?.read_on_all_processors(None)? {
        batch?;
    }
    let decode = begun.elapsed();

    let begun = Instant::now();
    rows_of(&changes)?;
    let read_changes = begun.elapsed();

    let begun = Instant::now();
    let mut writer = ObjectWriter::create(
        File::create(out)?,
        intervals.schema(),
        &["id".to_owned(), "active_start".to_owned()],
        &Location::local(out),
    )?;
    for batch in rows {
        writer.write(batch)?;
    }
    writer.finish_plain()?;
    let encode = begun.elapsed();
    println!(
        "{}",
        json!({
            "decode": decode.as_secs_f64(),
            "changes": read_changes.as_secs_f64(),
            "encode": encode.as_secs_f64(),
        })
    );
    Ok(())
}

/// Decodes files, a file a core, and counts their rows.
fn rows_of(files: &[PathBuf]) -> Result<u64> {
    let next = AtomicUsize::new(0);
    let rows = AtomicU64::new(0);
    let work = || -> Result {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            for batch in ParquetObject::open(&Location::local(file))?.read(None)? {
                rows.fetch_add(batch?.num_rows() as u64, Ordering::Relaxed);
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores()?).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    Ok(rows.into_inner())
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "parquet")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
