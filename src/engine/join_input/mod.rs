//! The rows of the build side of a join, for a window of dates: from snapshots, or from intervals.

pub mod intervals;
pub mod snapshots;
