//! asof

pub mod clock;
pub mod domain;
pub mod error;
pub mod model;
pub mod storage;
