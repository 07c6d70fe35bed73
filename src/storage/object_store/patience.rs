//! How long a store is waited for, and how often it is asked again.
//!
//! A request that a store does not answer, or answers with a failure of its own, is repeated by the
//! client after growing pauses. A conditional write is not: it may have been carried out without
//! our hearing of it, so [`super::upload`] looks at what has the name before it writes again.

use std::time::Duration;

/// How often a request is tried again, unless `max_retries` says otherwise: about ten seconds, with
/// growing pauses.
pub(super) const RETRIES: usize = 6;

/// When trying again ends, unless `retry_timeout` says otherwise.
pub(super) const RETRY_TIMEOUT: Duration = Duration::from_secs(120);

/// How long one request may take, unless `timeout` says otherwise: a part of 16 MiB on a slow line.
pub(super) const REQUEST_TIMEOUT: &str = "180s";

/// How long the beginning of an answer to a question is waited for: a store that says nothing is
/// asked again.
pub(super) const SILENCE: Duration = Duration::from_secs(20);

/// The pause before a conditional write is tried again; it doubles each time.
pub(super) const WRITE_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause before a conditional write is tried again.
pub(super) const LONGEST_WRITE_PAUSE: Duration = Duration::from_secs(10);
