//! Sending OpenLineage events of runs, to a file and to a server.
//!
//! What `asof.toml` says comes first, then `OPENLINEAGE_URL`, `OPENLINEAGE_ENDPOINT`,
//! `OPENLINEAGE_API_KEY` and `OPENLINEAGE_NAMESPACE`. `OPENLINEAGE_DISABLED=true` turns all of it
//! off. An event that cannot be delivered is noted, and fails nothing. A server that cannot be
//! reached twice in a row is left alone for the rest of the run, so that it does not hold up a
//! night.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fs::OpenOptions;
use std::hash::{BuildHasher, Hasher};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Duration, NaiveDate, Utc};
use serde_json::Value;

use super::{Progress, Workspace};
use crate::clock::{Clock, Stopwatch};
use crate::config::{OpenLineageConfig, expand_path};
use crate::domain::lineage::{LineageDataset, LineageRun, RunTransition, run_id};
use crate::error::{Context, Error, Result};
use crate::secret::{Secret, without_credentials};
use crate::storage::lake::location::{Location, Place};
use crate::storage::object_store::post::Endpoint;
use crate::storage::object_store::registry::Stores;

/// How often an event is sent.
const ATTEMPTS: usize = 2;

impl Workspace<'_> {
    /// A run of which OpenLineage is told; nothing if nobody asks for events.
    pub(in crate::commands) fn lineage_run(
        &self,
        kind: &'static str,
        name: String,
        dates: Option<(NaiveDate, NaiveDate)>,
    ) -> Option<OpenRun<'_>> {
        let emitter = self.emitter.as_deref()?;
        Some(OpenRun::new(emitter, self.progress, kind, name, dates))
    }
}

/// Sends the events of one process.
pub(super) struct Emitter {
    namespace: String,
    endpoint: Option<Endpoint>,
    file: Option<PathBuf>,
    is_unreachable: AtomicBool,
    clock: Clock,
    watch: Stopwatch,
}

impl Emitter {
    /// What configuration and environment ask for; nothing if that is nothing.
    ///
    /// # Errors
    /// A usage error for an invalid URL, or a variable that is not set.
    pub(super) fn new(
        config: &OpenLineageConfig,
        base: &Path,
        environment: &BTreeMap<String, Secret>,
        stores: &Stores,
        clock: Clock,
        progress: &dyn Progress,
    ) -> Result<Option<Self>> {
        let variable = |name: &str| environment.get(name).cloned();
        let set = |name: &str| {
            let value = variable(name)?.expose().trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        let is_off =
            set("OPENLINEAGE_DISABLED").is_some_and(|off| off.eq_ignore_ascii_case("true"));
        if is_off {
            return Ok(None);
        }
        let endpoint = match &config.url {
            Some(url) => {
                let url = expand_path(url, &variable)?;
                let url = full_url(&url, config.endpoint.as_deref())?;
                Some(stores.endpoint(url, config.api_key(&variable)?))
            }
            None => set("OPENLINEAGE_URL").and_then(|url| {
                // The variable is meant for other programs too, so a wrong one stops nothing.
                let path = set("OPENLINEAGE_ENDPOINT");
                let full = full_url(&url, path.as_deref())
                    .inspect_err(|error| progress.note(&error.to_string()));
                let key = set("OPENLINEAGE_API_KEY").map(Secret::from);
                Some(stores.endpoint(full.ok()?, key))
            }),
        };
        let file = config
            .file
            .as_deref()
            .map(|file| Ok::<_, Error>(base.join(expand_path(file, &variable)?)))
            .transpose()?;
        if endpoint.is_none() && file.is_none() {
            return Ok(None);
        }
        let namespace = config.namespace.clone();
        Ok(Some(Emitter {
            namespace: namespace
                .or_else(|| set("OPENLINEAGE_NAMESPACE"))
                .unwrap_or_else(|| "asof".to_owned()),
            endpoint,
            file,
            is_unreachable: AtomicBool::new(false),
            clock,
            watch: Stopwatch::start(),
        }))
    }

    /// The present time: that of the clock, which stands still, and what has passed since.
    fn now(&self) -> DateTime<Utc> {
        let passed = Duration::from_std(self.watch.elapsed()).unwrap_or_default();
        self.clock.now() + passed
    }

    fn send(&self, event: &Value, progress: &dyn Progress) {
        if let Some(file) = &self.file
            && let Err(error) = append(file, event)
        {
            progress.note(&format!("openlineage: {error}"));
        }
        let Some(endpoint) = &self.endpoint else {
            return;
        };
        if self.is_unreachable.load(Ordering::Relaxed) {
            return;
        }
        let mut sent = Ok(());
        for _ in 0..ATTEMPTS {
            sent = endpoint.post(event.to_string());
            if sent.is_ok() {
                return;
            }
        }
        if let Err(error) = sent {
            self.is_unreachable.store(true, Ordering::Relaxed);
            progress.note(&format!(
                "openlineage: {error}; no more events are sent there in this run"
            ));
        }
    }
}

/// The URL that events are sent to.
fn full_url(url: &str, endpoint: Option<&str>) -> Result<String> {
    let is_http = ["http://", "https://"]
        .iter()
        .any(|scheme| url.starts_with(scheme));
    let full = format!(
        "{}/{}",
        url.trim_end_matches('/'),
        endpoint.unwrap_or("api/v1/lineage").trim_start_matches('/')
    );
    match (url::Url::parse(url), url::Url::parse(&full)) {
        (Ok(_), Ok(_)) if is_http => Ok(full),
        _ => Err(Error::usage(format!("openlineage: '{url}' is not a URL"))
            .hint("http://HOST:PORT, or https://HOST")),
    }
}

/// Adds an event to a file, as one line, by one write.
fn append(file: &Path, event: &Value) -> Result<()> {
    let doing = || format!("cannot write '{}'", file.display());
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).io_context(doing)?;
    }
    let mut opened = OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .io_context(doing)?;
    opened
        .write_all(format!("{event}\n").as_bytes())
        .io_context(doing)
}

/// A run that has begun, whose end is to be told.
pub(in crate::commands) struct OpenRun<'a> {
    emitter: &'a Emitter,
    progress: &'a dyn Progress,
    run: LineageRun,
}

impl<'a> OpenRun<'a> {
    pub(super) fn new(
        emitter: &'a Emitter,
        progress: &'a dyn Progress,
        kind: &'static str,
        name: String,
        dates: Option<(NaiveDate, NaiveDate)>,
    ) -> Self {
        let random = || u128::from(RandomState::new().build_hasher().finish());
        let id = run_id(emitter.now(), random() << 64 | random());
        OpenRun {
            emitter,
            progress,
            run: LineageRun {
                id,
                namespace: emitter.namespace.clone(),
                name,
                kind,
                dates,
            },
        }
    }

    /// Tells that it begins.
    pub(in crate::commands) fn start(&self, inputs: &[LineageDataset], outputs: &[LineageDataset]) {
        self.tell(RunTransition::Start, inputs, outputs, None);
    }

    /// Tells how it ended.
    pub(in crate::commands) fn end(
        self,
        inputs: &[LineageDataset],
        outputs: &[LineageDataset],
        failure: Option<&str>,
    ) {
        let transition = match failure {
            Some(_) => RunTransition::Fail,
            None => RunTransition::Complete,
        };
        self.tell(transition, inputs, outputs, failure);
    }

    fn tell(
        &self,
        transition: RunTransition,
        inputs: &[LineageDataset],
        outputs: &[LineageDataset],
        failure: Option<&str>,
    ) {
        let at = self.emitter.now();
        let event = self.run.event(transition, at, inputs, outputs, failure);
        self.emitter.send(&event, self.progress);
    }
}

/// A file, a folder or an object as a dataset.
pub(in crate::commands) fn dataset_at(location: &Location) -> LineageDataset {
    let (namespace, name) = match location.place() {
        Place::Local(path) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            ("file".to_owned(), path.display().to_string())
        }
        Place::Remote(store, key) => (store.url().to_owned(), key.clone()),
    };
    LineageDataset {
        namespace,
        name: without_credentials(&name),
        ..LineageDataset::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_the_path_of_events() {
        assert_eq!(
            full_url("https://marquez/", None).expect("a URL"),
            "https://marquez/api/v1/lineage"
        );
        assert_eq!(
            full_url("http://h:5000", Some("/lineage")).expect("a URL"),
            "http://h:5000/lineage"
        );
        for wrong in ["marquez:5000", "ftp://h", "http://"] {
            assert!(full_url(wrong, None).is_err(), "{wrong}");
        }
    }
}
