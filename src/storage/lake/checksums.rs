//! Checksums of an object's bytes, by blocks.
//!
//! An object that asof writes carries the XXH3 of each block of 32 KiB of its bytes (the module
//! `seal` of `storage::parquet` says where). Whoever reads some bytes reads the blocks that they
//! lie in whole, and a block that does not match its checksum is a refusal. So the command that
//! uses damaged bytes finds the damage, and other commands are not affected.
//!
//! A block is small enough that a page of rows is had without much around it, and large enough that
//! checksums are a four-thousandth of the bytes.

use std::ops::Range;

use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use crate::error::{Error, Result};
use crate::storage::lake::location::Location;

/// How many bytes a block has; the last one of an object may have fewer.
pub const BLOCK: u64 = 32 << 10;

/// The checksums of the first bytes of an object.
#[derive(Debug, PartialEq, Eq)]
pub struct Checksums {
    covered: u64,
    blocks: Vec<u64>,
}

impl Checksums {
    /// Of an object's first `covered` bytes; nothing if the number of blocks is another one.
    pub fn new(covered: u64, blocks: Vec<u64>) -> Option<Self> {
        (blocks.len() as u64 == covered.div_ceil(BLOCK)).then_some(Checksums { covered, blocks })
    }

    /// How many bytes they are of.
    pub fn covered(&self) -> u64 {
        self.covered
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Refuses a range that reaches beyond the bytes that they are of.
    ///
    /// # Errors
    /// A refusal that names the object.
    pub fn check_covers(&self, location: &Location, range: &Range<u64>) -> Result<()> {
        if range.end <= self.covered {
            return Ok(());
        }
        Err(Error::damaged(format!(
            "'{location}' is damaged: it says that it has data at {} to {}, and has checksums of \
             its first {} bytes",
            range.start, range.end, self.covered
        )))
    }

    /// The blocks in which the bytes of a range lie.
    pub fn blocks_of(&self, range: &Range<u64>) -> Range<usize> {
        let number = |block: u64| usize::try_from(block).unwrap_or(usize::MAX);
        number(range.start / BLOCK)..number(range.end.div_ceil(BLOCK))
    }

    /// The bytes of a block.
    pub fn bytes_of(&self, block: usize) -> Range<u64> {
        let start = block as u64 * BLOCK;
        start..(start + BLOCK).min(self.covered)
    }

    /// The whole blocks that hold the bytes of ranges, ascending, and as one range where they meet.
    pub fn around(&self, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
        let mut wide: Vec<Range<u64>> = ranges
            .iter()
            .filter(|range| !range.is_empty())
            .map(|range| {
                range.start / BLOCK * BLOCK..(range.end.div_ceil(BLOCK) * BLOCK).min(self.covered)
            })
            .collect();
        wide.sort_by_key(|range| range.start);
        wide.dedup_by(|next, range| {
            let meets = next.start <= range.end;
            if meets {
                range.end = range.end.max(next.end);
            }
            meets
        });
        wide
    }

    /// Compares whole blocks of an object, from the block `first` on, with their checksums.
    ///
    /// # Errors
    /// A refusal that names the object and the bytes that are damaged.
    pub fn verify(&self, location: &Location, first: usize, bytes: &[u8]) -> Result<()> {
        let blocks = bytes.chunks(usize::try_from(BLOCK).unwrap_or(usize::MAX));
        for (block, bytes) in (first..).zip(blocks) {
            if self.blocks.get(block) != Some(&xxh3_64(bytes)) {
                return Err(self.damaged(location, block));
            }
        }
        Ok(())
    }

    fn damaged(&self, location: &Location, block: usize) -> Error {
        let Range { start, end } = self.bytes_of(block);
        Error::damaged(format!(
            "'{location}' is damaged: its bytes {start} to {end} do not match their checksum"
        ))
    }

    /// The checksums, one after the other.
    pub fn values(&self) -> &[u64] {
        &self.blocks
    }
}

/// Works out the checksums of bytes as they are written.
#[derive(Default)]
pub struct ChecksumWriter {
    covered: u64,
    blocks: Vec<u64>,
    begun: Xxh3Default,
}

impl ChecksumWriter {
    /// Takes the next bytes of the object.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(BLOCK - self.covered % BLOCK).unwrap_or(usize::MAX);
            let (block, rest) = bytes.split_at(room.min(bytes.len()));
            self.begun.update(block);
            self.covered += block.len() as u64;
            if block.len() == room {
                self.end_block();
            }
            bytes = rest;
        }
    }

    fn end_block(&mut self) {
        self.blocks.push(self.begun.digest());
        self.begun.reset();
    }

    /// The checksums of all bytes that were taken.
    pub fn finish(mut self) -> Checksums {
        if !self.covered.is_multiple_of(BLOCK) {
            self.end_block();
        }
        Checksums {
            covered: self.covered,
            blocks: self.blocks,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checksums(bytes: &[u8], piece: usize) -> Checksums {
        let mut writer = ChecksumWriter::default();
        bytes.chunks(piece).for_each(|bytes| writer.update(bytes));
        writer.finish()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_flipped_bit_is_found_in_its_block_and_nowhere_else(
            length in 1_usize..200_000, piece in 1_usize..90_000, at in any::<prop::sample::Index>(), bit in 0_u8..8,
        ) {
            let mut bytes: Vec<u8> = (0..length).map(|at| (at * 31 % 251) as u8).collect();
            let sums = checksums(&bytes, piece);
            prop_assert_eq!(&sums, &checksums(&bytes, length));
            let place = Location::local("x");
            prop_assert!(sums.verify(&place, 0, &bytes).is_ok());
            let at = at.index(length);
            bytes[at] ^= 1 << bit;
            let at = at as u64;
            for block in 0..sums.blocks() {
                let range = sums.bytes_of(block);
                let of_block = &bytes[usize::try_from(range.start).expect("small")..usize::try_from(range.end).expect("small")];
                prop_assert_eq!(sums.verify(&place, block, of_block).is_err(), range.contains(&at));
            }
        }
    }

    #[test]
    fn blocks_around_ranges_are_whole_and_end_with_what_is_covered() {
        let sums = checksums(&vec![7; 75_000], 1000);
        let ranges = [70_000..70_001, 5..5, 1..2];
        assert_eq!(sums.around(&ranges), [0..32_768, 65_536..75_000]);
        let meet = [32_768..65_536, 65_536..70_000];
        assert_eq!(sums.around(&meet), std::slice::from_ref(&(32_768..75_000)));
        assert_eq!(sums.blocks_of(&(32_767..32_769)), 0..2);
        assert_eq!(Checksums::new(75_000, vec![0; 2]), None);
    }

    #[test]
    fn damage_is_named_by_object_and_bytes() {
        let bytes = vec![7; 40_000];
        let sums = checksums(&bytes, 40_000);
        let error = sums
            .verify(&Location::local("lake/x"), 1, &bytes[1..5])
            .expect_err("other bytes");
        assert_eq!(
            error.to_string(),
            "'lake/x' is damaged: its bytes 32768 to 40000 do not match their checksum"
        );
    }
}
