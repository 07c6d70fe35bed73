//! Damage to files of other tools: reading them succeeds or is refused, and never ends the process.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use asof::error::{Kind, Result};
use asof::source::{FormatRule, TypeRules, read};
use asof::storage::lake::partitions::local_object;
use parquet::arrow::ArrowWriter;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn rows() -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..200));
    let texts: ArrayRef = Arc::new(StringArray::from_iter(
        (0..200).map(|row| (row % 7 > 0).then(|| format!("text {}", row % 11))),
    ));
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(
        (0..200).map(|row| row * 1_000_003),
    ));
    let few = cast(
        &texts,
        &DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)),
    )
    .unwrap();
    let views = cast(&texts, &DataType::Utf8View).unwrap();
    let lists =
        (0..200).map(|row| (row % 3 > 0).then(|| (0..row % 5).map(Some).collect::<Vec<_>>()));
    let lists: ArrayRef = Arc::new(arrow::array::ListArray::from_iter_primitive::<
        Int32Type,
        _,
        _,
    >(lists));
    let pair = arrow::array::StructArray::from(vec![
        (
            Arc::new(Field::new("a", DataType::Int64, true)),
            ids.clone(),
        ),
        (
            Arc::new(Field::new("b", DataType::Utf8, true)),
            texts.clone(),
        ),
    ]);
    let nulls: ArrayRef = Arc::new(arrow::array::NullArray::new(200));
    let columns: [(&str, ArrayRef); 8] = [
        ("id", ids),
        ("text", texts),
        ("time", times),
        ("few", few),
        ("view", views),
        ("list", lists),
        ("pair", Arc::new(pair)),
        ("null", nulls),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .unwrap()
}

fn write_ipc(path: &Path, compression: Option<CompressionType>) {
    let options = IpcWriteOptions::default()
        .try_with_compression(compression)
        .unwrap();
    let mut writer =
        FileWriter::try_new_with_options(File::create(path).unwrap(), &rows().schema(), options)
            .unwrap();
    writer.write(&rows().slice(0, 120)).unwrap();
    writer.write(&rows().slice(120, 80)).unwrap();
    writer.finish().unwrap();
}

fn write_stream(path: &Path) {
    let mut writer = StreamWriter::try_new(File::create(path).unwrap(), &rows().schema()).unwrap();
    writer.write(&rows()).unwrap();
    writer.finish().unwrap();
}

fn write_parquet(path: &Path) {
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), rows().schema(), None).unwrap();
    writer.write(&rows()).unwrap();
    writer.close().unwrap();
}

pub(super) fn read_whole(path: &Path) -> Result<usize> {
    let files = [local_object(path)?];
    let rows = read(
        &files,
        FormatRule::default().of(&files)?,
        &TypeRules::default(),
        None,
    )?;
    rows.batches.map(|batch| Ok(batch?.num_rows())).sum()
}

/// Writes a file of every format, and returns their names.
pub(super) fn write_corpus(folder: &Path) -> Vec<String> {
    let at = |name: &str| folder.join(name);
    write_ipc(&at("plain.arrow"), None);
    write_ipc(&at("lz4.arrow"), Some(CompressionType::LZ4_FRAME));
    write_ipc(&at("zstd.arrow"), Some(CompressionType::ZSTD));
    write_stream(&at("stream.ipc"));
    write_parquet(&at("rows.parquet"));
    let texts = [
        (
            "rows.csv",
            include_str!("../../fixtures/mutations/rows.csv"),
        ),
        (
            "rows.ndjson",
            include_str!("../../fixtures/mutations/rows.ndjson"),
        ),
    ];
    for (name, text) in texts {
        fs::write(at(name), text).unwrap();
    }
    let names = [
        "plain.arrow",
        "lz4.arrow",
        "zstd.arrow",
        "stream.ipc",
        "rows.parquet",
    ];
    let names = names.into_iter().chain(texts.map(|(name, _)| name));
    names.map(str::to_owned).collect()
}

#[test]
fn a_damaged_file_is_read_or_refused() {
    asof::storage::parquet::untrusted::silence_decoders();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_corpus(folder.path());
    let mut random = StdRng::seed_from_u64(11);
    for name in [
        "plain.arrow",
        "lz4.arrow",
        "zstd.arrow",
        "stream.ipc",
        "rows.parquet",
    ] {
        let whole = fs::read(at(name)).unwrap();
        assert_eq!(read_whole(&at(name)).unwrap(), 200, "{name}");
        let mut refused = 0;
        for trial in 0..300 {
            let mut bytes = whole.clone();
            if trial % 10 == 0 {
                bytes.truncate(random.random_range(0..whole.len()));
            } else {
                for _ in 0..random.random_range(1..=3) {
                    // Headers and footers are at both ends, and every second change is there.
                    let range = if trial % 2 == 0 {
                        0..whole.len()
                    } else {
                        whole.len() - 700..whole.len()
                    };
                    bytes[random.random_range(range)] = random.random();
                }
            }
            let path = at(&format!("damaged.{}", name.rsplit_once('.').unwrap().1));
            fs::write(&path, bytes).unwrap();
            if let Err(error) = read_whole(&path) {
                assert_eq!(
                    error.kind(),
                    Kind::Refused,
                    "{name}, trial {trial}: {error}"
                );
                refused += 1;
            }
        }
        assert!(refused > 50, "{name}: {refused} of 300 were refused");
    }
}

#[test]
fn a_footer_that_is_longer_than_its_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for bytes in [
        b"PAR1PAR1".to_vec(),
        [b"PAR1".as_slice(), &[0xff, 0xff, 0xff, 0x7f], b"PAR1"].concat(),
        b"PAR1".to_vec(),
        Vec::new(),
    ] {
        let path = folder.path().join("x.parquet");
        fs::write(&path, &bytes).unwrap();
        assert_eq!(
            read_whole(&path).unwrap_err().kind(),
            Kind::Refused,
            "{bytes:?}"
        );
    }
    for length in [0x7fff_ffff_i32, -1, 0, 400] {
        let path = folder.path().join("x.arrow");
        let bytes = [
            b"ARROW1\0\0".as_slice(),
            &[0; 64],
            &length.to_le_bytes(),
            b"ARROW1",
        ]
        .concat();
        fs::write(&path, bytes).unwrap();
        assert_eq!(
            read_whole(&path).unwrap_err().kind(),
            Kind::Refused,
            "{length}"
        );
    }
}
