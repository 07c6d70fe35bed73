//! Journeys through the real binary.
