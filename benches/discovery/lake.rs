//! A seeded lake: so many objects on each date, and their keys in the order of bytes.
//!
//! How many objects a date has is a function of the pipeline and the date alone, so a date has the
//! same objects in a lake of one year and in a lake of ten. A lake of millions of keys holds none
//! of them: it keeps the path of each date and how many objects there are up to its end, and makes
//! a key from its place.

use std::collections::BTreeMap;
use std::fmt::Write;

use asof::domain::layout::Layout;
use asof::model::DateRange;
use chrono::{Datelike, NaiveDate};

/// Below what the lake lies.
pub(crate) const ROOT: &str = "lake/events";
/// What everything random comes from.
const SEED: u64 = 2015;

/// A kind of table, by how many files its job leaves a day.
pub(crate) struct Pipeline {
    pub(crate) name: &'static str,
    /// What it is, for the document.
    pub(crate) about: &'static str,
    salt: u64,
    files: fn(u64) -> u64,
}

/// The pipelines of the experiment.
pub(crate) const PIPELINES: [Pipeline; 3] = [
    Pipeline {
        name: "A",
        about: "1 to 24 files a date, each number as likely",
        salt: 1,
        files: |random| 1 + random % 24,
    },
    Pipeline {
        name: "B",
        about: "one file a date",
        salt: 2,
        files: |_| 1,
    },
    Pipeline {
        name: "C",
        about: "0 to 6,000 files a date: `floor(6001 × u⁵)` with `u` uniform in [0, 1). \
                One date in six has none, half of them have fewer than 190, one in eight has more \
                than 3,000; 1,000 on average",
        salt: 3,
        files: |random| (6001.0 * uniform(random).powi(5)).floor() as u64,
    },
];

/// A number that looks random and is the same on every run.
pub(crate) fn mix(salt: u64, number: u64) -> u64 {
    let mut x = number
        .wrapping_add(SEED ^ salt.wrapping_mul(0xbf58_476d_1ce4_e5b9))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A random number as one of [0, 1).
fn uniform(random: u64) -> f64 {
    (random >> 11) as f64 / (1u64 << 53) as f64
}

/// The objects of a table, in the order of their keys.
pub(crate) struct Lake {
    dates: Vec<Partition>,
}

struct Partition {
    date: NaiveDate,
    path: String,
    /// How many objects there are in this partition and in those before it.
    end: usize,
}

impl Lake {
    pub(crate) fn new(pipeline: &Pipeline, dates: DateRange, layout: &Layout) -> Self {
        let mut end = 0;
        let partition = |date: NaiveDate| {
            let random = mix(
                pipeline.salt,
                u64::from(date.num_days_from_ce().unsigned_abs()),
            );
            end += usize::try_from((pipeline.files)(random)).expect("a few thousand");
            Partition {
                date,
                path: format!("{ROOT}/{}", layout.path(date)),
                end,
            }
        };
        Lake {
            dates: dates.dates().map(partition).collect(),
        }
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.dates.last().map_or(0, |partition| partition.end)
    }

    /// How many objects each date of a range has, those with none left out.
    pub(crate) fn counts(&self, range: DateRange) -> BTreeMap<NaiveDate, usize> {
        let counts = (0..self.dates.len()).map(|index| {
            (
                self.dates[index].date,
                self.dates[index].end - self.start(index),
            )
        });
        counts
            .filter(|(date, count)| *count > 0 && range.contains(*date))
            .collect()
    }

    /// How many objects there are before a partition.
    fn start(&self, index: usize) -> usize {
        index
            .checked_sub(1)
            .map_or(0, |before| self.dates[before].end)
    }

    /// The keys at some places.
    pub(crate) fn keys(&self, places: std::ops::Range<usize>) -> Vec<String> {
        let mut index = self
            .dates
            .partition_point(|partition| partition.end <= places.start);
        let mut keys = Vec::with_capacity(places.len());
        for place in places {
            while self.dates[index].end <= place {
                index += 1;
            }
            let path = &self.dates[index].path;
            let mut key = String::with_capacity(path.len() + "/part-00000.parquet".len());
            write!(key, "{path}/part-{:05}.parquet", place - self.start(index))
                .expect("a string takes everything");
            keys.push(key);
        }
        keys
    }

    /// At which place the first key is that is not before something, by halving.
    pub(crate) fn place(&self, is_before: impl Fn(&str) -> bool) -> usize {
        let mut low = 0;
        let mut high = self.len();
        while low < high {
            let middle = low.midpoint(high);
            if is_before(&self.keys(middle..middle + 1)[0]) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        low
    }
}
