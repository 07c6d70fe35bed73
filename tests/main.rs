//! Journeys through the real binary.

mod damaged;
mod frozen;
mod model;
