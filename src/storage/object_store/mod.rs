//! Buckets and containers of S3, Google Cloud Storage and Azure.
//!
//! | file | does |
//! | --- | --- |
//! | [`registry`] | opens each bucket or container once |
//! | [`options`] | where options come from, and which one holds |
//! | `profile` | the profiles of AWS |
//! | `clients` | checks options, and makes the clients of each provider |
//! | [`service`] | the services there are, and what is said of their objects |
//! | [`bucket`] | one bucket or container, and how it is reached |
//! | `patience` | how long a store is waited for, and how often it is asked again |
//! | `failures` | what the failures of a service mean, and what mends them |
//! | [`http`] | counts requests, and makes the last one of an upload conditional |
//! | [`listing`] | listings, a page a request |
//! | [`search`] | finds the objects of a range of dates; [`search_outcome`] says which are taken |
//! | `guided_search` | does so by the fewest pages of listings, in parallel |
//! | `azure_listing` | how the listings of Azure differ: their order, and what they leave out |
//! | [`post`] | sends a document to a URL |
//! | [`upload`] | publishing into a store by one conditional write |

mod azure_listing;
pub mod bucket;
mod clients;
pub(crate) mod failures;
mod guided_search;
pub mod http;
pub mod listing;
pub mod options;
mod patience;
pub mod post;
mod profile;
pub mod registry;
pub mod search;
pub mod search_outcome;
pub mod service;
pub mod upload;
