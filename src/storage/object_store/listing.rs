//! Listings of object stores, a page a request.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::StreamExt;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::memory::InMemory;
use object_store::{ObjectMeta, ObjectStore};

use crate::storage::object_store::azure_listing;
use crate::storage::object_store::service::Service;

/// Keys in a page, as every service has it.
pub(crate) const PAGE: usize = 1000;

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The key of the object.
    pub key: String,
    /// The size of the object in bytes.
    pub size: u64,
    /// What changes when the object is rewritten.
    pub etag: Option<String>,
    /// When the object was written, if that is told.
    pub modified: Option<DateTime<Utc>>,
}

impl From<ObjectMeta> for Listed {
    fn from(meta: ObjectMeta) -> Self {
        Listed {
            key: meta.location.into(),
            size: meta.size,
            etag: meta.e_tag,
            modified: Some(meta.last_modified),
        }
    }
}

/// What one request asks.
#[derive(Clone, Debug, Default)]
pub struct PageQuery {
    /// What every key begins with; it need not end at a `/`.
    pub prefix: String,
    /// Only keys that sort after this one.
    pub after: Option<String>,
    /// Whether what lies below a further `/` is given as one name.
    pub by_folder: bool,
    /// The most keys wanted; as many as the service gives, if none.
    pub limit: Option<usize>,
    /// Where the page before ended.
    pub token: Option<String>,
}

/// A part of a listing, in the order of keys.
#[derive(Debug, Default)]
pub struct Page {
    /// The objects.
    pub objects: Vec<Listed>,
    /// The names below which there is more, if folders were asked for.
    pub folders: Vec<String>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// A service's listings, a page a request.
#[async_trait]
pub trait Pages: Send + Sync {
    /// Whether a listing can begin after a key.
    fn begins_after(&self) -> bool;

    /// One page.
    async fn page(&self, query: PageQuery) -> object_store::Result<Page>;
}

/// The listings of S3, Google and Azure.
pub(crate) struct CloudPages {
    store: Arc<dyn PaginatedListStore>,
    service: Service,
}

impl CloudPages {
    pub(crate) fn new(store: Arc<dyn PaginatedListStore>, service: Service) -> Self {
        CloudPages { store, service }
    }
}

#[async_trait]
impl Pages for CloudPages {
    fn begins_after(&self) -> bool {
        azure_listing::begins_after(self.service)
    }

    async fn page(&self, query: PageQuery) -> object_store::Result<Page> {
        let options = PaginatedListOptions {
            offset: query.after,
            delimiter: query.by_folder.then(|| "/".into()),
            max_keys: query.limit,
            page_token: query.token,
            ..PaginatedListOptions::default()
        };
        let prefix = Some(query.prefix.as_str()).filter(|prefix| !prefix.is_empty());
        let answer = self.store.list_paginated(prefix, options).await?;
        Ok(Page {
            objects: answer
                .result
                .objects
                .into_iter()
                .map(Listed::from)
                .collect(),
            folders: answer
                .result
                .common_prefixes
                .into_iter()
                .map(String::from)
                .collect(),
            next: answer.page_token,
        })
    }
}

/// The listings of a store in memory.
pub(crate) struct MemoryPages(Arc<InMemory>);

impl MemoryPages {
    pub(crate) fn new(memory: Arc<InMemory>) -> Self {
        MemoryPages(memory)
    }
}

#[async_trait]
impl Pages for MemoryPages {
    fn begins_after(&self) -> bool {
        true
    }

    async fn page(&self, query: PageQuery) -> object_store::Result<Page> {
        let mut listing = self.0.list(None);
        let mut all: Vec<Listed> = Vec::new();
        while let Some(meta) = listing.next().await {
            all.push(meta?.into());
        }
        all.sort_by(|one, other| one.key.cmp(&other.key));
        let mut page = Page::default();
        let after = query.token.or(query.after).unwrap_or_default();
        let limit = query.limit.unwrap_or(PAGE);
        let mut last = String::new();
        for object in all
            .into_iter()
            .filter(|object| object.key.starts_with(&query.prefix) && object.key > after)
        {
            let folder = object.key[query.prefix.len()..]
                .split_once('/')
                .map(|(name, _)| format!("{}{name}", query.prefix));
            let folder = folder.filter(|_| query.by_folder);
            if folder.is_some() && page.folders.last() == folder.as_ref() {
                last = object.key;
                continue;
            }
            if page.objects.len() + page.folders.len() >= limit {
                page.next = Some(last);
                break;
            }
            last.clone_from(&object.key);
            match folder {
                Some(folder) => page.folders.push(folder),
                None => page.objects.push(object),
            }
        }
        Ok(page)
    }
}
