//! Buckets and containers of S3, Google Cloud Storage and Azure.
//!
//! | file | does |
//! | --- | --- |
//! | [`registry`] | opens each bucket or container once |
//! | [`options`] | where options come from, and which one holds |
//! | `profile` | the profiles of AWS |
//! | `clients` | checks options, and makes the clients of each provider |
//! | [`provider`] | the providers there are, and what is said of their objects |
//! | [`bucket`] | one bucket or container, and how it is reached |
//! | `failures` | what the failures of a service mean, and what mends them |
//! | [`http`] | counts requests, and makes the last one of an upload conditional |
//! | [`listing`] | listings, a page a request |
//! | [`search`] | finds the objects of a range of dates; [`search_outcome`] says which are taken |
//! | `guided_search` | does so by the fewest pages of listings, in parallel |
//! | `azure_listing` | what the listings of Azure leave out |
//! | [`upload`] | publishing into a store by one conditional write |

mod azure_listing;
pub mod bucket;
mod clients;
pub(crate) mod failures;
mod guided_search;
pub mod http;
pub mod listing;
pub mod options;
mod profile;
pub mod provider;
pub mod registry;
pub mod search;
pub mod search_outcome;
pub mod upload;
