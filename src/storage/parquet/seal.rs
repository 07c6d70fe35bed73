//! The checksums of an object, in the object.
//!
//! They stand before the footer, where readers of Parquet look at nothing:
//!
//! ```text
//! row groups, page indexes | checksum of each block | seal | footer, its length, PAR1
//! ```
//!
//! The seal is 32 bytes: how many bytes the blocks are of, the checksum of all from the footer to
//! the end of the file, the checksum of what stands between the page indexes and here, and
//! [`MAGIC`]. Numbers are little-endian, checksums are XXH3 of 64 bits. So each byte of the object
//! is under a checksum, and those of the footer are verified before it is decoded.
//!
//! A damaged byte cannot make an object look as if it had no checksums: the footer says, in
//! `created_by`, that there is a seal ([`SEALED`]). Whoever damages that has damaged a footer whose
//! seal still stands.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use crate::storage::lake::checksums::{BLOCK, ChecksumWriter, Checksums};

/// How the name of the program ends that a footer gives, if the object has checksums.
pub(super) const SEALED: &str = "+checksums";
/// The last bytes of the seal.
const MAGIC: &[u8; 8] = b"asofsums";
/// How many bytes the seal has.
const SEAL: usize = 32;
/// The end of a Parquet file: the length of its footer, and `PAR1`.
pub(super) const TAIL: usize = 8;
/// How many bytes are written at once.
const WRITTEN_AT_ONCE: usize = 256 << 10;

/// A file that is given checksums as it is written.
pub(super) struct SealedFile {
    file: BufWriter<File>,
    checksums: ChecksumWriter,
    /// The page indexes and the footer: the checksums stand between them.
    end: Option<Vec<u8>>,
}

impl SealedFile {
    pub(super) fn new(file: File) -> Self {
        SealedFile {
            file: BufWriter::with_capacity(WRITTEN_AT_ONCE, file),
            checksums: ChecksumWriter::default(),
            end: None,
        }
    }

    /// Keeps what is written from now on, which must be the end of a Parquet file from the page
    /// indexes on, until the file is sealed.
    pub(super) fn hold_back(&mut self) {
        self.end = Some(Vec::new());
    }

    /// Writes what was held back, with the checksums in their place, and returns how many bytes
    /// they have.
    pub(super) fn seal(&mut self) -> io::Result<u64> {
        let end = self.end.take().unwrap_or_default();
        let footer = footer_length(&end)
            .and_then(|length| end.len().checked_sub(length + TAIL))
            .ok_or_else(|| io::Error::other("the end of a file is not one of Parquet"))?;
        let (indexes, footer) = end.split_at(footer);
        self.write_all(indexes)?;
        let table = table(&std::mem::take(&mut self.checksums).finish(), footer);
        self.file.write_all(&table)?;
        self.file.write_all(footer)?;
        self.file.flush()?;
        Ok(table.len() as u64)
    }
}

impl Write for SealedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(end) = &mut self.end {
            return end.write(bytes);
        }
        let written = self.file.write(bytes)?;
        self.checksums.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The length of a footer, as the end of a file says it.
fn footer_length(end: &[u8]) -> Option<usize> {
    let (_, tail) = end.split_last_chunk::<TAIL>()?;
    usize::try_from(u32::from_le_bytes(*tail.first_chunk()?)).ok()
}

/// What stands between the page indexes and the footer.
fn table(checksums: &Checksums, footer: &[u8]) -> Vec<u8> {
    let blocks = checksums.values().iter().copied();
    let numbers = blocks.chain([checksums.covered(), xxh3_64(footer)]);
    let mut table: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
    table.extend(xxh3_64(&table).to_le_bytes());
    table.extend(MAGIC);
    table
}

/// How many bytes the checksums of a file of so many bytes have at most.
pub(super) fn longest_table(size: u64) -> u64 {
    size.div_ceil(BLOCK) * 8 + SEAL as u64
}

/// Reads the checksums before a footer, and compares the footer with its own.
///
/// `before` ends where the footer begins, at `footer_start`, and has as much as a table may have;
/// `footer` is all from there on. Nothing if there is no seal.
///
/// # Errors
/// What is wrong with them, in words.
pub(super) fn open(
    before: &[u8],
    footer: &[u8],
    footer_start: u64,
) -> Result<Option<Checksums>, &'static str> {
    let Some((above, seal)) = before.split_last_chunk::<SEAL>() else {
        return Ok(None);
    };
    let [covered, of_footer, of_table, magic] = [0, 8, 16, 24].map(|at| number(&seal[at..]));
    if magic != u64::from_le_bytes(*MAGIC) {
        return Ok(None);
    }
    let damaged = "its checksums are damaged";
    let length = (footer_start - SEAL as u64).checked_sub(covered);
    let length = length.and_then(|length| usize::try_from(length).ok());
    let start = length.and_then(|length| above.len().checked_sub(length));
    let start = start.ok_or(damaged)?;
    let seen = Range {
        start,
        end: above.len() + 16,
    };
    if xxh3_64(&before[seen]) != of_table {
        return Err(damaged);
    }
    if xxh3_64(footer) != of_footer {
        return Err("its footer does not match its checksum");
    }
    let blocks = above[start..].chunks(8).map(number).collect();
    Checksums::new(covered, blocks).map(Some).ok_or(damaged)
}

/// The number that some bytes begin with.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};

    use crate::error::{Kind, Result};
    use crate::storage::lake::location::Location;
    use crate::storage::parquet::footer::Footer;
    use crate::storage::parquet::object::ParquetObject;
    use crate::storage::parquet::writer::ObjectWriter;

    fn rows(count: i64) -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        let names = (0..count).map(|id| format!("name {:x}", id * 0x9e37_79b9 % 0xffff_fffb));
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(names));
        RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("name", names, true)])
            .expect("a batch")
    }

    fn written(path: &Location, rows: &RecordBatch) -> Vec<u8> {
        let path = path.as_local().expect("a path");
        let file = std::fs::File::create(path).expect("a file");
        let key = ["id".to_owned()];
        let mut writer = ObjectWriter::create(file, &rows.schema(), &key, &Location::local(path))
            .expect("a writer");
        writer.write(rows.clone()).expect("written");
        let size = writer.finish(&Footer::sample()).expect("finished");
        let bytes = std::fs::read(path).expect("the bytes");
        assert_eq!(size, bytes.len() as u64);
        bytes
    }

    fn read(path: &Location) -> Result<Vec<RecordBatch>> {
        let object = ParquetObject::open(path)?;
        object.footer()?;
        object.verify_unread()?;
        object.read(None)?.collect()
    }

    #[test]
    fn each_bit_that_is_flipped_is_refused_by_the_objects_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Location::local(folder.path().join("x.parquet"));
        let whole = written(&path, &rows(40));
        let as_written = read(&path).expect("it is whole");
        assert_eq!(as_written, [rows(40)]);
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(path.as_local().expect("a path"), bytes).expect("written");
            let error = read(&path).expect_err("a bit is flipped");
            assert_eq!(error.kind(), Kind::Refused, "byte {at}: {error}");
            assert!(
                error.to_string().contains("x.parquet"),
                "byte {at}: {error}"
            );
        }
    }

    #[test]
    fn damage_in_a_block_is_no_damage_to_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Location::local(folder.path().join("x.parquet"));
        let mut bytes = written(&path, &rows(200_000));
        assert!(bytes.len() > 10 * 65_536, "there are several blocks");
        let object = ParquetObject::open(&path).expect("it opens");
        let groups = object.rows_of_groups().len();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path.as_local().expect("a path"), bytes).expect("written");
        let object = ParquetObject::open(&path).expect("the footer is whole");
        let damaged = |group: usize| {
            let rows = object.read_groups_where(None, None, vec![group]);
            rows.expect("a stream").any(|batch| batch.is_err())
        };
        let damaged = (0..groups).filter(|group| damaged(*group)).count();
        assert!((1..3).contains(&damaged), "{damaged} of {groups}");
        let ranges = (0..200_000).step_by(10_000).filter(|from| {
            let rows = object.read_rows(None, &(*from..*from + 10_000));
            rows.expect("a stream").any(|batch| batch.is_err())
        });
        assert!((1..4).contains(&ranges.count()));
    }
}
