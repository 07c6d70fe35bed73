//! Sorted streams, merged.
//!
//! Streams are merged in rounds. In each, one batch of every stream is there, and the stream whose
//! batch ends with the least key *limits* the round: all rows up to that key are taken, since no
//! stream can still bring a lesser one. They are few, sorted already but for what they have in
//! common, and put in order as the rows of a run are; several rounds at a time, on all processors.
//! A round with rows of one stream has nothing to put in order, so streams that follow one another,
//! as the runs of a sorted source do, are passed on.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::row::Rows;

use super::gather::in_order;
use super::order::{BatchKeys, order};
use crate::domain::key_order::{KeyEncoder, partition_point};
use crate::error::Result;
use crate::parallel::{each, flatten};
use crate::phases::Phase;
use crate::storage::Batches;
use crate::storage::parquet::BATCH_ROWS;

/// Merges streams that are each sorted by `keys`; rows of equal keys come in the order of the
/// streams.
///
/// # Errors
/// Whatever the streams fail with.
pub fn merge(streams: Vec<Batches>, schema: &SchemaRef, keys: &[String]) -> Result<Batches> {
    let encoder = Arc::new(KeyEncoder::new(schema, keys)?);
    let streams = streams.into_iter().map(|rows| RunStream {
        rows,
        current: None,
    });
    let rounds = Rounds {
        encoder: encoder.clone(),
        streams: streams.collect(),
    };
    let merged = each(rounds, move |round| {
        Phase::Sort.spend(|| put_in_order(&encoder, round))
    })?;
    Ok(Box::new(flatten(merged)))
}

fn put_in_order(encoder: &KeyEncoder, round: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    if round.len() < 2 {
        return Ok(round);
    }
    let seen = round
        .iter()
        .map(|batch| BatchKeys::of_sorted(encoder, batch))
        .collect::<Result<Vec<_>>>()?;
    let order = order(encoder, &round, &seen, 1)?;
    in_order(round, order, BATCH_ROWS)?.collect()
}

/// A stream, and the rows of it that are there.
struct RunStream {
    rows: Batches,
    current: Option<Sorted>,
}

/// Rows with their keys, of which some have been taken.
struct Sorted {
    batch: RecordBatch,
    keys: Rows,
    taken: usize,
}

impl RunStream {
    /// Loads the next batch, if all of the one before is taken.
    fn refill(&mut self, encoder: &KeyEncoder) -> Result<()> {
        let is_used_up = |sorted: &Sorted| sorted.taken >= sorted.batch.num_rows();
        while self.current.as_ref().is_none_or(is_used_up) {
            let Some(batch) = self.rows.next().transpose()? else {
                self.current = None;
                return Ok(());
            };
            self.current = Some(Sorted {
                keys: encoder.encode(&batch)?,
                batch,
                taken: 0,
            });
        }
        Ok(())
    }
}

impl Sorted {
    fn last(&self) -> &[u8] {
        self.keys.row(self.batch.num_rows() - 1).data()
    }

    /// Takes the rows up to a key, and those with that key too if `with_equal`.
    fn take(&mut self, limit: &[u8], with_equal: bool) -> RecordBatch {
        let start = self.taken;
        let goes = |at: usize| {
            let key = self.keys.row(start + at).data();
            key < limit || with_equal && key == limit
        };
        let count = partition_point(self.batch.num_rows() - start, goes);
        self.taken += count;
        self.batch.slice(start, count)
    }
}

/// The rows of each round, by stream.
struct Rounds {
    encoder: Arc<KeyEncoder>,
    streams: Vec<RunStream>,
}

impl Rounds {
    fn next_round(&mut self) -> Result<Option<Vec<RecordBatch>>> {
        for stream in &mut self.streams {
            stream.refill(&self.encoder)?;
        }
        self.streams.retain(|stream| stream.current.is_some());
        let lasts = self
            .streams
            .iter()
            .enumerate()
            .filter_map(|(number, stream)| {
                let current = stream.current.as_ref()?;
                Some((current.last(), number))
            });
        // Of equal keys that of the first stream: its next batch may have the key again, and comes
        // before the rows of later streams that have it.
        let Some((limit, limiting)) = lasts.min() else {
            return Ok(None);
        };
        let limit = limit.to_vec();
        let current = self
            .streams
            .iter_mut()
            .filter_map(|stream| stream.current.as_mut());
        let taken = current
            .enumerate()
            .map(|(number, sorted)| sorted.take(&limit, number <= limiting));
        Ok(Some(taken.filter(|rows| rows.num_rows() > 0).collect()))
    }
}

impl Iterator for Rounds {
    type Item = Result<Vec<RecordBatch>>;

    fn next(&mut self) -> Option<Self::Item> {
        Phase::Sort.spend(|| self.next_round()).transpose()
    }
}
