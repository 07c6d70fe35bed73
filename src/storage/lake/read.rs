//! Reading an object: ranges of it, or from its beginning to its end.
//!
//! An [`ObjectReader`] is opened once and reads that object and no other: if another one takes its
//! name meanwhile, reading fails rather than mix two. The same holds from the listing that found an
//! object on. So whatever was learnt of an object, such as the identity that a footer records, is
//! of the bytes that its rows come from. On a local disk the file's identity tells the object from
//! another one, in a store its ETag does.
//!
//! A file on a disk can also be written into while it is read. Whoever reads rows to their end
//! learns of that there ([`ObjectReader::unchanged`]).
//!
//! In a store nothing is read that was not asked for, but for the end of the object, which comes
//! with opening it: that is where Parquet has its footer. Ranges that are close to one another are
//! one request; several requests are under way at a time.
//!
//! Once the reader knows the object's [`Checksums`], the blocks of whatever is read are verified.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path as StorePath;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, coalesce_ranges};
use tracing::debug;

use crate::error::{Context, Error, Result};
use crate::phases::Phase;
use crate::storage::lake::checksums::Checksums;
use crate::storage::lake::file_at::{FileAt, read_at, within};
use crate::storage::lake::file_identity::FileIdentity;
use crate::storage::lake::location::{Location, Object, Place};
use crate::storage::object_store::bucket::Store;
use crate::storage::object_store::failures::failure;
use crate::storage::object_store::service::Service;

/// How much of the end of an object comes with opening it.
const TAIL: u64 = 64 << 10;
/// Ranges with less than this between them are read as one.
const GAP: u64 = 32 << 10;
/// How much is read at a time from the beginning to the end.
const AHEAD: u64 = 8 << 20;

/// How often an object that is replaced while it is being opened is opened anew.
const ATTEMPTS: u32 = 10;

/// An object that has been opened for reading ranges.
#[derive(Clone)]
pub struct ObjectReader {
    location: Location,
    size: u64,
    handle: Handle,
    checksums: Option<Arc<Checksums>>,
}

#[derive(Clone)]
enum Handle {
    /// The file, while it is held open, and what tells it from another one of its name.
    Local(Option<Arc<File>>, FileIdentity),
    Remote {
        store: Arc<Store>,
        key: String,
        etag: Option<String>,
        tail: Bytes,
    },
}

impl ObjectReader {
    /// Opens an object.
    ///
    /// # Errors
    /// A failure if it is not there or cannot be read.
    pub fn open(location: &Location) -> Result<Self> {
        ObjectReader::open_known(location, None)
    }

    /// Opens an object that a listing found.
    ///
    /// # Errors
    /// As [`ObjectReader::open`]; a failure if it was replaced since.
    pub fn open_listed(object: &Object) -> Result<Self> {
        ObjectReader::open_known(&object.location, Some(object))
    }

    fn open_known(location: &Location, listed: Option<&Object>) -> Result<Self> {
        let doing = format!("cannot open '{location}'");
        let (size, handle) = match location.place() {
            Place::Local(path) => {
                let file = File::open(path).map_err(|error| not_opened(location, error))?;
                let opened = FileIdentity::of_open(&file).io_context(|| doing.clone())?;
                let listed = listed.and_then(|object| object.file.as_ref());
                if listed.is_some_and(|listed| !opened.has_content_of(listed)) {
                    return Err(replaced(location));
                }
                (opened.size, Handle::Local(Some(Arc::new(file)), opened))
            }
            Place::Remote(store, key) => {
                let end = End {
                    doing,
                    reads: store.reads.clone(),
                    path: store.path(key)?,
                    service: store.service,
                };
                let known = listed.map(|object| (object.size, object.etag.clone()));
                let (size, etag, tail) = store.wait(end.read(known))?;
                let handle = Handle::Remote {
                    store: store.clone(),
                    key: key.clone(),
                    etag,
                    tail,
                };
                (size, handle)
            }
        };
        Ok(ObjectReader {
            location: location.clone(),
            size,
            handle,
            checksums: None,
        })
    }

    /// The location of the object.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The size of the object in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Verifies whatever is read from now on by the object's checksums.
    pub fn verify_by(&mut self, checksums: Arc<Checksums>) {
        self.checksums = Some(checksums);
    }

    /// The object's checksums, if it has any.
    pub fn checksums(&self) -> Option<&Checksums> {
        self.checksums.as_deref()
    }

    /// Lets go of an open file, which is opened again when it is read, and must be the same then;
    /// and of the end of an object, unless that is all of it. For whoever holds many.
    pub fn release(&mut self) {
        match &mut self.handle {
            Handle::Local(file, _) => *file = None,
            Handle::Remote { tail, .. } if (tail.len() as u64) < self.size => *tail = Bytes::new(),
            Handle::Remote { .. } => {}
        }
    }

    /// A reader of the same object that holds the object's file open, on a local disk.
    ///
    /// # Errors
    /// A failure if another file has taken its name.
    pub fn held(&self) -> Result<Self> {
        let mut held = self.clone();
        if let (Handle::Local(file, _), Some(opened)) = (&mut held.handle, self.file()?) {
            *file = Some(opened);
        }
        Ok(held)
    }

    /// What is read from the object, which is held open. Where that ends or fails, it is made sure
    /// that nobody has written into the file since it was opened; a failure says so then.
    pub fn unchanged<T>(
        self,
        mut items: impl Iterator<Item = Result<T>> + Send,
    ) -> impl Iterator<Item = Result<T>> + Send {
        let mut has_ended = false;
        std::iter::from_fn(move || {
            if has_ended {
                return None;
            }
            let item = items.next();
            if let Some(Ok(_)) = item {
                return item;
            }
            has_ended = true;
            self.check_unchanged()
                .map_or_else(|error| Some(Err(error)), |()| item)
        })
    }

    fn check_unchanged(&self) -> Result<()> {
        let Handle::Local(Some(file), opened) = &self.handle else {
            return Ok(());
        };
        let now = FileIdentity::of_open(file)
            .io_context(|| format!("cannot read '{}'", self.location))?;
        if now.has_content_of(opened) {
            return Ok(());
        }
        Err(Error::io(format!(
            "'{}' was written to while it was being read",
            self.location
        ))
        .hint("run the same command again"))
    }

    /// The file of an object on a local disk.
    ///
    /// # Errors
    /// A failure if another file has taken its name.
    pub fn file(&self) -> Result<Option<Arc<File>>> {
        let Handle::Local(held, opened) = &self.handle else {
            return Ok(None);
        };
        if let Some(file) = held {
            return Ok(Some(file.clone()));
        }
        let Some(path) = self.location.as_local() else {
            return Ok(None);
        };
        let doing = || format!("cannot open '{}'", self.location);
        let file = File::open(path).io_context(doing)?;
        if !FileIdentity::of_open(&file)
            .io_context(doing)?
            .has_content_of(opened)
        {
            return Err(replaced(&self.location));
        }
        Ok(Some(Arc::new(file)))
    }

    /// The file of an object on a local disk, to be read at positions.
    ///
    /// # Errors
    /// As [`ObjectReader::file`].
    pub fn file_at(&self) -> Result<Option<FileAt>> {
        let file = self.file()?;
        Ok(file.map(|file| FileAt::new(file, self.location.clone(), self.checksums.clone())))
    }

    /// The bytes of ranges, in their order.
    ///
    /// # Errors
    /// A failure to read, or if another object has taken the name.
    pub fn fetch(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        Phase::Read.spend(|| self.fetched(ranges))
    }

    fn fetched(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if let Some(range) = ranges
            .iter()
            .find(|range| range.start > range.end || range.end > self.size)
        {
            return Err(Error::damaged(format!(
                "'{}' is damaged: it has {} bytes, and says that it has some at {} to {}",
                self.location, self.size, range.start, range.end
            )));
        }
        match &self.checksums {
            Some(checksums) => self.verified(checksums, ranges),
            None => self.stored(ranges),
        }
    }

    /// The bytes of ranges, after the blocks that they lie in have been verified.
    fn verified(&self, checksums: &Checksums, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        for range in ranges {
            checksums.check_covers(&self.location, range)?;
        }
        let wide = checksums.around(ranges);
        let bytes = self.stored(&wide)?;
        for (wide, bytes) in wide.iter().zip(&bytes) {
            checksums.verify(&self.location, checksums.blocks_of(wide).start, bytes)?;
        }
        let part = |range: &Range<u64>| {
            let after = wide.partition_point(|wide| wide.start <= range.start);
            match after.checked_sub(1) {
                Some(at) if !range.is_empty() => within(&bytes[at], &wide[at], range),
                _ => Bytes::new(),
            }
        };
        Ok(ranges.iter().map(part).collect())
    }

    /// The bytes of ranges, as they are.
    fn stored(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if let Some(file) = self.file()? {
            let doing = || format!("cannot read '{}'", self.location);
            return ranges
                .iter()
                .map(|range| read_at(&file, range).io_context(doing))
                .collect();
        }
        let Handle::Remote { tail, .. } = &self.handle else {
            return Ok(Vec::new());
        };
        let tail_from = self.size - tail.len() as u64;
        let in_tail = |range: &Range<u64>| range.start >= tail_from;
        let at = |offset: u64| usize::try_from(offset - tail_from).unwrap_or(usize::MAX);
        let before_tail = ranges.iter().filter(|range| !in_tail(range));
        let mut requested = self.request(before_tail.cloned().collect())?.into_iter();
        let bytes = ranges.iter().map(|range| {
            if in_tail(range) {
                Some(tail.slice(at(range.start)..at(range.end)))
            } else {
                requested.next()
            }
        });
        bytes
            .map(|bytes| {
                bytes.ok_or_else(|| Error::io(format!("truncated read of '{}'", self.location)))
            })
            .collect()
    }

    /// Asks the store for ranges; those that are close to one another are one request.
    fn request(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>> {
        let Handle::Remote {
            store, key, etag, ..
        } = &self.handle
        else {
            return Ok(Vec::new());
        };
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        let doing = format!("cannot read '{}'", self.location);
        let reads = store.reads.clone();
        let path = store.path(key)?;
        let etag = etag.clone();
        store.wait(async move {
            let get = |range: Range<u64>| {
                let reads = reads.clone();
                let path = path.clone();
                let if_match = etag.clone();
                async move {
                    let options = GetOptions {
                        range: Some(GetRange::Bounded(range)),
                        if_match,
                        ..GetOptions::default()
                    };
                    reads.get_opts(&path, options).await?.bytes().await
                }
            };
            coalesce_ranges(&ranges, get, GAP)
                .await
                .map_err(|error| failure(&doing, error))
        })
    }

    /// The object from its beginning to its end.
    ///
    /// # Errors
    /// As [`ObjectReader::file`].
    pub fn stream(self) -> Result<ObjectStream> {
        let reader = self.held()?;
        Ok(ObjectStream {
            file: reader.file()?,
            reader,
            position: 0,
            held_from: 0,
            held: Bytes::new(),
        })
    }
}

/// Why a file on a local disk is not opened.
fn not_opened(location: &Location, error: io::Error) -> Error {
    let is_there = matches!(location.is_taken(), Ok(true));
    if error.kind() == io::ErrorKind::NotFound && is_there {
        return Error::damaged(format!("'{location}' is a link that leads nowhere"));
    }
    Error::io(format!("cannot open '{location}': {error}")).caused_by(error)
}

fn replaced(location: &Location) -> Error {
    Error::io(format!("'{location}' was replaced while it was being read"))
        .hint("run the same command again")
}

/// What a listing told of an object: its size and its ETag.
type Known = (u64, String);

/// The end of an object in a store that is to be read.
struct End {
    doing: String,
    reads: Arc<dyn ObjectStore>,
    path: StorePath,
    service: Service,
}

impl End {
    /// Reads the end of the object; returns the object's size, ETag and end.
    async fn read(self, known: Option<Known>) -> Result<(u64, Option<String>, Bytes)> {
        let any_will_do = known.is_none();
        let mut attempts_left = ATTEMPTS;
        let answer = loop {
            let known = self.known(known.clone()).await?;
            if matches!(known, Some((0, _))) {
                return Ok((0, None, Bytes::new()));
            }
            let is_known = known.is_some();
            match self.reads.get_opts(&self.path, tail_of(known)).await {
                // Replaced between the two requests: whatever stands there now is what was to be
                // opened.
                Err(object_store::Error::Precondition { .. })
                    if any_will_do && attempts_left > 1 =>
                {
                    attempts_left -= 1;
                    debug!(path = %self.path, "the object was replaced while it was opened; opening it again");
                }
                // An empty object has no end to be read.
                Err(_) if !is_known && self.is_empty().await => {
                    return Ok((0, None, Bytes::new()));
                }
                answer => break answer.map_err(|error| self.failed(error))?,
            }
        };
        let size = answer.meta.size;
        let etag = answer.meta.e_tag.clone();
        let tail = answer.bytes().await.map_err(|error| self.failed(error))?;
        Ok((size, etag, tail))
    }

    /// What is known of the object. Azure answers no request for the end of an object whose size is
    /// not known, so it is asked for the size first.
    async fn known(&self, known: Option<Known>) -> Result<Option<Known>> {
        if known.is_some() || self.service != Service::Azure {
            return Ok(known);
        }
        let meta = self.reads.head(&self.path).await;
        let meta = meta.map_err(|error| self.failed(error))?;
        Ok(Some((meta.size, meta.e_tag.unwrap_or_default())))
    }

    async fn is_empty(&self) -> bool {
        let meta = self.reads.head(&self.path).await;
        meta.is_ok_and(|meta| meta.size == 0)
    }

    fn failed(&self, error: object_store::Error) -> Error {
        match error {
            object_store::Error::NotFound { .. } if !error.to_string().contains("NoSuchBucket") => {
                Error::io(format!("{}: there is no such object", self.doing))
            }
            error => failure(&self.doing, error),
        }
    }
}

/// A request for the end of an object.
fn tail_of(known: Option<Known>) -> GetOptions {
    let (range, if_match) = match known {
        Some((size, etag)) => (
            GetRange::Bounded(size.saturating_sub(TAIL)..size),
            Some(etag).filter(|etag| !etag.is_empty()),
        ),
        None => (GetRange::Suffix(TAIL), None),
    };
    GetOptions {
        range: Some(range),
        if_match,
        ..GetOptions::default()
    }
}

/// An object read as a file is, in pieces of eight megabytes where it is in a store.
pub struct ObjectStream {
    reader: ObjectReader,
    file: Option<Arc<File>>,
    position: u64,
    held_from: u64,
    held: Bytes,
}

impl Read for ObjectStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(file) = &mut self.file {
            let count = file.read(buffer)?;
            if count == 0 && !buffer.is_empty() {
                self.reader.check_unchanged().map_err(io::Error::other)?;
            }
            return Ok(count);
        }
        let size = self.reader.size;
        if self.position >= size || buffer.is_empty() {
            return Ok(0);
        }
        let held_to = self.held_from + self.held.len() as u64;
        if !(self.held_from..held_to).contains(&self.position) {
            let range = self.position..(self.position + AHEAD).min(size);
            self.held = self
                .reader
                .fetch(std::slice::from_ref(&range))
                .map_err(io::Error::other)?
                .pop()
                .unwrap_or_default();
            self.held_from = self.position;
        }
        let rest =
            &self.held[usize::try_from(self.position - self.held_from).unwrap_or(usize::MAX)..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for ObjectStream {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if let Some(file) = &mut self.file {
            return file.seek(to);
        }
        let position = match to {
            SeekFrom::Start(at) => i128::from(at),
            SeekFrom::End(by) => i128::from(self.reader.size) + i128::from(by),
            SeekFrom::Current(by) => i128::from(self.position) + i128::from(by),
        };
        self.position =
            u64::try_from(position).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}
