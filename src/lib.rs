//! asof

pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod domain;
pub mod engine;
pub mod error;
pub mod model;
pub mod source;
pub mod storage;
