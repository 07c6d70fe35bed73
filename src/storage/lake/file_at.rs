//! A file on a local disk that is read at positions, a page at a time.

use std::fs::File;
use std::io::{self, BufReader, Chain, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::error::{Context, Result};
use crate::storage::lake::checksums::Checksums;
use crate::storage::lake::location::Location;

/// How much is read ahead for the header of a page, which is short.
const HEADER: usize = 512;

/// A file that is read at positions: one system call a read, and readers that do not move one
/// another.
///
/// With checksums, a block is read whole and verified when the first of its bytes is asked for, and
/// trusted from then on.
pub struct FileAt(Arc<CheckedFile>);

struct CheckedFile {
    file: Arc<File>,
    location: Location,
    /// The checksums, and which blocks have been verified.
    checks: Option<(Arc<Checksums>, Box<[AtomicBool]>)>,
}

impl FileAt {
    /// Of an open file, which errors name by its location.
    pub fn new(file: Arc<File>, location: Location, checksums: Option<Arc<Checksums>>) -> Self {
        let checks = checksums.map(|checksums| {
            let verified = (0..checksums.blocks()).map(|_| AtomicBool::new(false));
            let verified = verified.collect();
            (checksums, verified)
        });
        FileAt(Arc::new(CheckedFile {
            file,
            location,
            checks,
        }))
    }
}

impl CheckedFile {
    /// The bytes of a range, which must lie within the file.
    fn bytes(&self, range: Range<u64>) -> Result<Bytes> {
        let doing = || format!("cannot read '{}'", self.location);
        let Some((checksums, verified)) = &self.checks else {
            return read_at(&self.file, &range).io_context(doing);
        };
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        checksums.check_covers(&self.location, &range)?;
        let blocks = checksums.blocks_of(&range);
        let is_verified = |block: usize| verified[block].load(Ordering::Relaxed);
        // Only a block at either end may be wanted in part.
        let mut wide = range.clone();
        if !is_verified(blocks.start) {
            wide.start = checksums.bytes_of(blocks.start).start;
        }
        if !is_verified(blocks.end - 1) {
            wide.end = checksums.bytes_of(blocks.end - 1).end;
        }
        let bytes = read_at(&self.file, &wide).io_context(doing)?;
        for block in blocks.filter(|block| !is_verified(*block)) {
            let of_block = within(&bytes, &wide, &checksums.bytes_of(block));
            checksums.verify(&self.location, block, &of_block)?;
            verified[block].store(true, Ordering::Relaxed);
        }
        Ok(within(&bytes, &wide, &range))
    }
}

/// The bytes of a range out of those of a wider one.
pub(super) fn within(bytes: &Bytes, wide: &Range<u64>, range: &Range<u64>) -> Bytes {
    let at = |offset: u64| usize::try_from(offset - wide.start).unwrap_or(usize::MAX);
    bytes.slice(at(range.start)..at(range.end))
}

/// The bytes of a file in a range.
pub(super) fn read_at(file: &File, range: &Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
    let mut position = range.start;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), position) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => position += count as u64,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // An allocation may be larger than what was asked for.
    bytes.truncate(length);
    Ok(bytes.into())
}

impl Length for FileAt {
    fn len(&self) -> u64 {
        self.0.file.metadata().map_or(0, |metadata| metadata.len())
    }
}

impl ChunkReader for FileAt {
    type T = Chain<Reader<Bytes>, BufReader<FromPosition>>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        // The decoder reads headers of pages with it. One that is damaged is to be told as such, so
        // it is read before the decoder sees it.
        let header = match &self.0.checks {
            None => Bytes::new(),
            Some((checksums, _)) => {
                let end = start.saturating_add(HEADER as u64);
                self.read(start..end.min(checksums.covered()).max(start))?
            }
        };
        let rest = FromPosition {
            file: self.0.clone(),
            position: start + header.len() as u64,
        };
        Ok(header
            .reader()
            .chain(BufReader::with_capacity(HEADER, rest)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.read(start..start.saturating_add(length as u64))
    }
}

impl FileAt {
    fn read(&self, range: Range<u64>) -> parquet::errors::Result<Bytes> {
        let bytes = self.0.bytes(range);
        bytes.map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// Reads on from a position.
pub struct FromPosition {
    file: Arc<CheckedFile>,
    position: u64,
}

impl Read for FromPosition {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &self.file.checks {
            None => self.file.file.read_at(buffer, self.position)?,
            Some((checksums, _)) => {
                let end = self.position.saturating_add(buffer.len() as u64);
                let range = self.position..end.min(checksums.covered()).max(self.position);
                let bytes = self.file.bytes(range).map_err(io::Error::other)?;
                buffer[..bytes.len()].copy_from_slice(&bytes);
                bytes.len()
            }
        };
        self.position += count as u64;
        Ok(count)
    }
}
