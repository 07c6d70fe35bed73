//! Statistics of a table's columns, by polars: nulls, different values, extremes, means and the
//! most frequent values, of one state of a table or of two beside one another.
//!
//! All columns are counted in one pass over the rows. If that takes more memory than it may, the
//! column that needs most is set aside, and the rows are read again for those that were. Only a
//! column whose different values alone need too much is refused.
//!
//! Memory: a batch, and of each column its different values with a few numbers.

#[cfg(feature = "frames")]
mod value_counter;

use arrow::datatypes::FieldRef;

#[cfg(feature = "frames")]
use self::value_counter::ValueCounter;
use crate::domain::column_statistics::ColumnStatistics;
#[cfg(feature = "frames")]
use crate::domain::schema::columns_by_name;
use crate::error::{Error, Result};
use crate::memory::MemoryBudget;
use crate::storage::Batches;

/// Reads the named columns of all rows of one side, as often as it is called.
pub type SideReader<'a> = &'a dyn Fn(&[String]) -> Result<Batches>;

/// What is to be counted.
pub struct StatisticsOptions<'a> {
    /// The columns, in the types in which they are read.
    pub columns: &'a [FieldRef],
    /// A column of them in which no value occurs twice on a side.
    pub unique: Option<&'a str>,
    /// How many of the most frequent values are wanted of each side.
    pub most: usize,
    /// What may be used.
    pub memory: MemoryBudget,
    /// What the rows are of, for messages.
    pub what: &'a str,
}

/// Refused, if this program was built without the feature `frames`. `what` is what the user asked
/// for.
///
/// # Errors
/// A usage error.
pub fn require_polars(what: &str) -> Result<()> {
    if cfg!(feature = "frames") {
        return Ok(());
    }
    Err(
        Error::usage(format!("{what}: this asof was built without polars"))
            .hint("cargo install asof --features frames"),
    )
}

/// Statistics of columns, in their order.
///
/// # Errors
/// A failure or refusal of reading; a refusal of a column that has more different values than
/// memory holds.
#[cfg(feature = "frames")]
pub fn statistics(
    options: &StatisticsOptions<'_>,
    sides: &[SideReader<'_>],
) -> Result<Vec<ColumnStatistics>> {
    let mut found: Vec<Option<ColumnStatistics>> = vec![None; options.columns.len()];
    let mut wanted: Vec<usize> = (0..found.len()).collect();
    while !wanted.is_empty() {
        let mut counters = Counters::new(options, &wanted, sides.len())?;
        for (side, read) in sides.iter().enumerate() {
            for batch in read(&counters.names())? {
                let batch = batch.map_err(|error| error.within(options.what))?;
                counters.push(side, &batch)?;
            }
        }
        wanted = counters.aside;
        for (at, counter) in counters.at_work {
            found[at] = Some(counter.finish(options.most)?);
        }
    }
    let found = found.into_iter().collect::<Option<Vec<_>>>();
    found.ok_or_else(|| Error::internal("a column was not counted"))
}

/// Refused: this program was built without the feature `frames`.
///
/// # Errors
/// Always.
#[cfg(not(feature = "frames"))]
pub fn statistics(
    options: &StatisticsOptions<'_>,
    _sides: &[SideReader<'_>],
) -> Result<Vec<ColumnStatistics>> {
    require_polars(options.what).map(|()| Vec::new())
}

/// The columns that are counted in one pass, and those that are left to the next.
#[cfg(feature = "frames")]
struct Counters<'a> {
    options: &'a StatisticsOptions<'a>,
    at_work: Vec<(usize, ValueCounter)>,
    aside: Vec<usize>,
}

#[cfg(feature = "frames")]
impl<'a> Counters<'a> {
    fn new(options: &'a StatisticsOptions<'a>, wanted: &[usize], sides: usize) -> Result<Self> {
        let counter = |at: &usize| -> Result<(usize, ValueCounter)> {
            let column = &options.columns[*at];
            let is_unique = options.unique == Some(column.name().as_str());
            let counter = ValueCounter::new(column.data_type(), is_unique, sides)?;
            Ok((*at, counter))
        };
        Ok(Counters {
            options,
            at_work: wanted.iter().map(counter).collect::<Result<_>>()?,
            aside: Vec::new(),
        })
    }

    fn names(&self) -> Vec<String> {
        let columns = self.at_work.iter();
        let names = columns.map(|(at, _)| self.options.columns[*at].name().clone());
        names.collect()
    }

    fn push(&mut self, side: usize, batch: &arrow::array::RecordBatch) -> Result<()> {
        let columns = columns_by_name(batch);
        for (at, counter) in &mut self.at_work {
            let name = self.options.columns[*at].name();
            let column = columns
                .get(name.as_str())
                .ok_or_else(|| Error::internal(format!("column '{name}' was not read")))?;
            counter.push(side, column)?;
        }
        let limit = self.options.memory.for_statistics();
        while self.held() > limit {
            self.shrink()?;
        }
        Ok(())
    }

    fn held(&self) -> usize {
        self.at_work.iter().map(|(_, counter)| counter.held()).sum()
    }

    /// Has the column that holds most hold less, or leaves it to the next pass.
    fn shrink(&mut self) -> Result<()> {
        let columns = self.at_work.iter().enumerate();
        let most = columns.max_by_key(|(_, (_, counter))| counter.held());
        let Some(most) = most.map(|(most, _)| most) else {
            return Ok(());
        };
        if self.at_work[most].1.shrink()? {
            return Ok(());
        }
        if self.at_work.len() == 1 {
            return Err(self.exceeded(self.at_work[most].0));
        }
        self.aside.push(self.at_work.remove(most).0);
        self.aside.sort_unstable();
        Ok(())
    }

    /// The refusal of a column that needs more memory than there is.
    fn exceeded(&self, at: usize) -> Error {
        let name = self.options.columns[at].name();
        let share = self.options.memory.for_statistics() >> 20;
        let twice = (self.options.memory.0 >> 29).max(1);
        let error = Error::refused(format!(
            "{}: counting the values of column '{name}' needs more than {share} MiB of memory",
            self.options.what
        ));
        error
            .hint(format!("--memory {twice}GiB"))
            .hint("--columns COLUMN,..., to leave the column out")
    }
}
