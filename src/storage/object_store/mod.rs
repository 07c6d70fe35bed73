//! Buckets and containers of S3, Google Cloud Storage and Azure.
//!
//! | file | does |
//! | --- | --- |
//! | [`registry`] | opens buckets and containers by their options |
//! | [`bucket`] | one bucket or container: how it is reached, and what its failures mean |
//! | [`provider`] | the providers there are, and what is said of their objects |
//! | `profile` | the profiles of AWS |
//! | [`http`] | counts requests, and makes the last one of an upload conditional |
//! | [`listing`] | listings, a page a request |
//! | [`guided_search`] | finds the objects of a range of dates by pages of listings, in parallel |
//! | [`upload`] | publishing into a store by one conditional write |

pub mod bucket;
pub mod guided_search;
pub mod http;
pub mod listing;
mod profile;
pub mod provider;
pub mod registry;
pub mod upload;
