//! A simulated S3: listings in pages of 1,000 keys, each a round trip, and time that only round
//! trips move.
//!
//! A request is answered when its round trip is over. Requests under way at the same time wait at
//! the same time, so what a search does in parallel costs it one round trip and not many. Nothing
//! sleeps: when all that is under way waits, the clock goes on to the first answer. Time is
//! therefore of round trips alone, without what the client computes.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use asof::storage::object_store::listing::{Listed, Page, PageQuery, Pages};
use async_trait::async_trait;

use crate::lake::{Lake, mix};

/// Keys in a page.
pub(crate) const PAGE: usize = 1000;
/// What most round trips take at least and at most, in microseconds, each time as likely.
const ROUND_TRIP: (u64, u64) = (18_300, 38_300);
/// One round trip in so many is slow.
const SLOW_ONE_IN: u64 = 50;
/// How many times as long a slow one takes. It makes 30.0 ms on average of all.
const SLOW: u64 = 4;
/// The salts of what is random here.
const TAKES: u64 = 11;
const IS_SLOW: u64 = 12;

/// A clock that stands still while anything can go on.
#[derive(Default)]
pub(crate) struct Clock(Mutex<Time>);

#[derive(Default)]
struct Time {
    now: u64,
    /// Who waits until when, by time and then by number.
    waiting: BTreeMap<(u64, u64), Waker>,
}

impl Clock {
    fn time(&self) -> MutexGuard<'_, Time> {
        self.0
            .lock()
            .expect("nothing panics while it holds the time")
    }

    /// How many microseconds have passed.
    pub(crate) fn now(&self) -> u64 {
        self.time().now
    }

    /// Waits; `number` says who goes first of those who wait until the same time.
    async fn sleep(&self, micros: u64, number: u64) {
        let until = self.now() + micros;
        let wait = |context: &mut Context<'_>| {
            let mut time = self.time();
            if time.now >= until {
                return Poll::Ready(());
            }
            time.waiting
                .insert((until, number), context.waker().clone());
            Poll::Pending
        };
        poll_fn(wait).await;
    }

    /// Runs something to its end, and the clock with it.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(value) = future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
            {
                return value;
            }
            let mut time = self.time();
            let ((until, _), waker) = time
                .waiting
                .pop_first()
                .expect("what does not go on waits for an answer");
            time.now = until;
            drop(time);
            waker.wake();
        }
    }
}

/// The store of one search.
pub(crate) struct Store<'a> {
    lake: &'a Lake,
    repetition: u64,
    requests: AtomicU64,
    clock: Clock,
}

impl<'a> Store<'a> {
    pub(crate) fn new(lake: &'a Lake, repetition: u64) -> Self {
        Store {
            lake,
            repetition,
            requests: AtomicU64::new(0),
            clock: Clock::default(),
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How many requests were made.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How long the round trip of a request takes. In a repetition the first request, the second
    /// and so on take the same time whatever is asked and whoever asks, so strategies that ask as
    /// many, in turn, take the same time.
    fn round_trip(&self, number: u64) -> u64 {
        let request = self.repetition << 32 | number;
        let micros = ROUND_TRIP.0 + mix(TAKES, request) % (ROUND_TRIP.1 - ROUND_TRIP.0 + 1);
        if mix(IS_SLOW, request).is_multiple_of(SLOW_ONE_IN) {
            SLOW * micros
        } else {
            micros
        }
    }
}

#[async_trait]
impl Pages for Store<'_> {
    fn begins_after(&self) -> bool {
        true
    }

    async fn page(&self, query: PageQuery) -> object_store::Result<Page> {
        assert!(!query.by_folder, "this store lists keys and not folders");
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        self.clock.sleep(self.round_trip(number), number).await;
        let start = match (&query.token, &query.after) {
            (Some(token), _) => token.parse().expect("a token of this store"),
            (None, Some(after)) => self
                .lake
                .place(|key| key <= after.as_str() || key < query.prefix.as_str()),
            (None, None) => self.lake.place(|key| key < query.prefix.as_str()),
        };
        let end = self
            .lake
            .place(|key| key < query.prefix.as_str() || key.starts_with(&query.prefix));
        let stop = end.min(start + query.limit.map_or(PAGE, |limit| limit.min(PAGE)));
        let listed = |key| Listed {
            key,
            size: 1,
            etag: None,
            modified: None,
        };
        let objects = self
            .lake
            .keys(start.min(stop)..stop)
            .into_iter()
            .map(listed)
            .collect();
        Ok(Page {
            objects,
            folders: Vec::new(),
            next: (stop < end).then(|| stop.to_string()),
        })
    }
}
