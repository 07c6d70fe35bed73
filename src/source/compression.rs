//! Compressed text: gzip, zstd, bzip2, xz, and zip archives that hold one file.
//!
//! The first bytes of a file say how it is compressed, whatever its name is. Decompression is
//! streamed, so it needs a window of memory and no disk. A zip archive is read at its directory,
//! which is at its end, and then at its one file.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use zip::{CompressionMethod, ZipArchive};

use crate::domain::file_names::is_data;
use crate::error::{Context, Error, Result};
use crate::storage::lake::read::ObjectStream;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// gzip, of one or several members.
    Gzip,
    /// Zstandard.
    Zstd,
    /// bzip2, of one or several streams.
    Bzip2,
    /// xz.
    Xz,
    /// A zip archive of one file.
    Zip,
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Bzip2 => "bzip2",
            Compression::Xz => "xz",
            Compression::Zip => "zip",
        })
    }
}

/// The endings of file names that say how a file is compressed.
const ENDINGS: [&str; 5] = [".gz", ".zst", ".bz2", ".xz", ".zip"];

/// What decoding one xz block may need at most, in KiB: eight times the window of `xz -9`.
const XZ_LIMIT: u32 = 512 << 10;

/// A file's name without the ending that says how it is compressed.
pub(super) fn stem(name: &str) -> &str {
    ENDINGS
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(name)
}

/// Reads a file from its beginning, decompressed, and says how it was compressed. `name` is what
/// errors call it.
///
/// # Errors
/// A failure to read it; a refusal of an archive that does not hold exactly one file.
pub(super) fn decompressed(
    mut file: ObjectStream,
    name: &str,
) -> Result<(Box<dyn Read + Send>, Option<Compression>)> {
    let doing = || format!("cannot read {name}");
    let mut magic = [0u8; 6];
    let got = fill(&mut file, &mut magic).io_context(doing)?;
    file.rewind().io_context(doing)?;
    if magic[..got].starts_with(b"PK\x03\x04") || magic[..got].starts_with(b"PK\x05\x06") {
        return Ok((unzipped(file, name)?, Some(Compression::Zip)));
    }
    let file = BufReader::with_capacity(1 << 18, file);
    let whole = |from: Box<dyn Read + Send>,
                 compression: Compression|
     -> (Box<dyn Read + Send>, Option<Compression>) {
        (
            Box::new(Decompressed { from, compression }),
            Some(compression),
        )
    };
    Ok(match &magic[..got] {
        [0x1f, 0x8b, ..] => whole(
            Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Compression::Gzip,
        ),
        // Programs that compress in parallel begin with a frame that is passed over.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => whole(
            Box::new(zstd::stream::read::Decoder::with_buffer(file).io_context(doing)?),
            Compression::Zstd,
        ),
        // The fourth byte is the block size, and the fifth begins a block or the end of the stream.
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => whole(
            Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
            Compression::Bzip2,
        ),
        b"\xfd7zXZ\0" => whole(
            Box::new(lzma_rust2::XzReader::new_mem_limit(file, true, XZ_LIMIT)),
            Compression::Xz,
        ),
        _ => (Box::new(file), None),
    })
}

/// A decompressed stream. Its libraries have several words for compressed data that ends too early.
struct Decompressed {
    from: Box<dyn Read + Send>,
    compression: Compression,
}

impl Read for Decompressed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.from.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(
                error.kind(),
                format!("the {} data is truncated", self.compression),
            ),
            _ => error,
        })
    }
}

/// Reads until a buffer is full or the file ends.
pub(super) fn fill(file: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// The name of the one file in a zip archive, and its number. Folders and files that begin with `.`
/// or `_` do not count.
fn only_file(archive: &ZipArchive<ObjectStream>, name: &str) -> Result<(usize, String)> {
    let names = archive
        .file_names()
        .enumerate()
        .map(|(number, file)| Ok((number, file?.into_owned())));
    let names: Vec<(usize, String)> = names
        .collect::<Result<_, zip::result::ZipError>>()
        .map_err(|error| damaged(name, &error))?;
    let is_file = |file: &str| !file.ends_with('/') && file.split('/').all(is_data);
    let mut files: Vec<(usize, String)> = names
        .into_iter()
        .filter(|(_, file)| is_file(file))
        .collect();
    match files.len() {
        1 => Ok(files.remove(0)),
        count => {
            let shown: Vec<String> = files
                .iter()
                .take(5)
                .map(|(_, file)| format!("'{file}'"))
                .collect();
            let more = if count > 5 { ", ..." } else { "" };
            let what = if count == 0 {
                "no file".to_owned()
            } else {
                format!("{count} files: {}{more}", shown.join(", "))
            };
            Err(Error::refused(format!(
                "{name} is a zip archive that holds {what}; asof reads one that holds one file"
            ))
            .hint("extract it first, for example: unzip FILE -d DIR"))
        }
    }
}

/// The name of the one file in a zip archive.
///
/// # Errors
/// A refusal of an archive that is damaged or does not hold exactly one file.
pub(super) fn name_in_archive(file: ObjectStream, name: &str) -> Result<String> {
    let archive = ZipArchive::new(file).map_err(|error| damaged(name, &error))?;
    only_file(&archive, name).map(|(_, file)| file)
}

fn unzipped(file: ObjectStream, name: &str) -> Result<Box<dyn Read + Send>> {
    let damaged = |error: &dyn std::fmt::Display| damaged(name, error);
    let mut archive = ZipArchive::new(file).map_err(|error| damaged(&error))?;
    let (number, inside) = only_file(&archive, name)?;
    let entry = archive
        .by_index_raw(number)
        .map_err(|error| damaged(&error))?;
    let refuse = |what: String| {
        Err(Error::refused(format!("'{inside}' in {name} is {what}"))
            .hint("extract it first, for example: unzip FILE -d DIR"))
    };
    if entry.encrypted() {
        return refuse("encrypted".to_owned());
    }
    let method = entry.compression();
    let expected = ArchiveEntry {
        crc: entry.crc32(),
        size: entry.size(),
    };
    let from = entry.data_start();
    let compressed = entry.compressed_size();
    drop(entry);
    let mut file = archive.into_inner();
    let from = from.ok_or_else(|| damaged(&"its directory does not say where the file begins"))?;
    file.seek(SeekFrom::Start(from))
        .io_context(|| format!("cannot read {name}"))?;
    let file = BufReader::with_capacity(1 << 18, file.take(compressed));
    Ok(match method {
        CompressionMethod::Stored => Box::new(CrcChecked::new(file, expected)),
        // The library has no other name for a method that it does not decompress itself.
        CompressionMethod::DEFLATE => Box::new(CrcChecked::new(
            flate2::bufread::DeflateDecoder::new(file),
            expected,
        )),
        other => return refuse(format!("compressed by {other}, which asof does not read")),
    })
}

fn damaged(name: &str, error: &dyn std::fmt::Display) -> Error {
    Error::refused(format!("{name} is damaged: {error}"))
}

/// What the directory of an archive says of a file.
struct ArchiveEntry {
    crc: u32,
    size: u64,
}

/// A file of an archive, compared with the directory when it ends.
struct CrcChecked<R> {
    from: R,
    seen: flate2::Crc,
    size: u64,
    expected: ArchiveEntry,
}

impl<R> CrcChecked<R> {
    fn new(from: R, expected: ArchiveEntry) -> Self {
        CrcChecked {
            from,
            seen: flate2::Crc::new(),
            size: 0,
            expected,
        }
    }
}

impl<R: Read> Read for CrcChecked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.seen.update(&buffer[..count]);
        self.size += count as u64;
        let is_wrong = self.seen.sum() != self.expected.crc || self.size != self.expected.size;
        if count == 0 && !buffer.is_empty() && is_wrong {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the checksum does not match",
            ));
        }
        Ok(count)
    }
}
