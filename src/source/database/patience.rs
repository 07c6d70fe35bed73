//! How long a server may take: to let a client in, and to send what comes next.
//!
//! A connection whose other end is gone is found by TCP's keepalives. A server that is there, and
//! sends nothing, is found by a limit of silence, since a query may take its time.

use std::time::Duration;

use tokio::time::timeout;

/// How long each address of a host may take to let a client in, unless the URL says it.
const TO_CONNECT: Duration = Duration::from_secs(30);
/// How long a server may be silent, unless the URL says it. MariaDB waits as long for rows to be
/// taken.
const TO_READ: Duration = Duration::from_secs(3600);

/// How long nothing comes before the system asks the other end whether it is there.
pub(super) const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// How long it waits for an answer before it asks again.
pub(super) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How often it asks before it takes the connection for broken.
pub(super) const KEEPALIVE_RETRIES: u32 = 6;
/// The time of all of this, which is that of what is sent and never received, too.
pub(super) const KEEPALIVE_TOTAL: Duration = Duration::from_secs(120);

/// The times that a server has.
#[derive(Debug)]
pub(super) struct Patience {
    /// To connect, to log in and to answer for the first time.
    pub(super) connecting: Limit,
    /// Between one answer, or row, and the next.
    pub(super) reading: Limit,
}

/// A time that an option of the URL sets.
#[derive(Debug)]
pub(super) struct Limit {
    /// Nothing if there is no end to it.
    time: Option<Duration>,
    option: &'static str,
}

impl Patience {
    /// The times of two options, each with its seconds if they are told; none are without end.
    pub(super) fn new(
        connecting: (&'static str, Option<u64>),
        reading: (&'static str, Option<u64>),
    ) -> Self {
        let limit = |(option, seconds): (_, Option<u64>), default| Limit {
            time: Some(seconds.map_or(default, Duration::from_secs)).filter(|time| !time.is_zero()),
            option,
        };
        Patience {
            connecting: limit(connecting, TO_CONNECT),
            reading: limit(reading, TO_READ),
        }
    }
}

impl Limit {
    /// What an answer is, or the seconds in which it did not come.
    pub(super) async fn bound<T>(&self, answer: impl Future<Output = T>) -> Result<T, u64> {
        let Some(time) = self.time else {
            return Ok(answer.await);
        };
        timeout(time, answer).await.map_err(|_| time.as_secs())
    }

    /// How it is set, as a hint.
    pub(super) fn more_time(&self) -> String {
        format!(
            "?{}=SECONDS in the URL gives it more time; 0 waits for ever",
            self.option
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_or_by_default_and_0_is_without_end() {
        let times = |connect, read| {
            let patience = Patience::new(("connect_timeout", connect), ("read_timeout", read));
            let seconds = |limit: Limit| limit.time.map(|time| time.as_secs());
            (seconds(patience.connecting), seconds(patience.reading))
        };
        assert_eq!(times(None, None), (Some(30), Some(3600)));
        assert_eq!(times(Some(5), Some(7)), (Some(5), Some(7)));
        assert_eq!(times(Some(0), Some(0)), (None, None));
        let of_keepalives = KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_RETRIES;
        assert_eq!(of_keepalives, KEEPALIVE_TOTAL);
    }
}
