//! The servers that `tests/run` starts, as the program and as the library reach them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use asof::storage::lake::location::Location;
use asof::storage::object_store::bucket::Store;
use asof::storage::object_store::registry::Stores;

use crate::journeys::environment::World;

/// The bucket or container that every server has.
const BUCKET: &str = "asof-test";
/// Not a secret: the key that Azurite's documentation gives.
const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A server of object storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// moto.
    S3,
    /// Azurite.
    Azure,
    /// The stand-in for Google's.
    Google,
    /// A server that says S3 and passes over preconditions.
    Unsafe,
}

impl Server {
    /// Its address.
    pub(crate) fn address(self) -> String {
        let variable = match self {
            Server::S3 => "ASOF_TEST_S3",
            Server::Azure => "ASOF_TEST_AZURE",
            Server::Google => "ASOF_TEST_GCS",
            Server::Unsafe => "ASOF_TEST_S3RVER",
        };
        std::env::var(variable)
            .unwrap_or_else(|_| panic!("{variable} is not set: run the tests with tests/run"))
    }

    fn scheme(self) -> &'static str {
        match self {
            Server::S3 | Server::Unsafe => "s3",
            Server::Azure => "az",
            Server::Google => "gs",
        }
    }

    /// The URL of a prefix that no other test has, and no earlier run of this one.
    pub(crate) fn prefix(self, name: &str) -> String {
        format!(
            "{}://{BUCKET}/{name}-{:08x}",
            self.scheme(),
            rand::random::<u32>()
        )
    }

    /// What the environment of the program has to say, for a server at an address.
    pub(crate) fn variables_at(self, address: &str) -> Vec<(String, String)> {
        let pairs: Vec<(&str, String)> = match self {
            Server::S3 | Server::Unsafe => {
                let (key, secret) = if self == Server::S3 {
                    ("x", "y")
                } else {
                    ("S3RVER", "S3RVER")
                };
                vec![
                    ("AWS_ENDPOINT_URL", address.to_owned()),
                    ("AWS_ACCESS_KEY_ID", key.to_owned()),
                    ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
                    ("AWS_REGION", "us-east-1".to_owned()),
                ]
            }
            Server::Azure => {
                vec![
                    ("AZURE_STORAGE_USE_EMULATOR", "true".to_owned()),
                    ("AZURITE_BLOB_STORAGE_URL", address.to_owned()),
                ]
            }
            Server::Google => vec![("GOOGLE_SERVICE_ACCOUNT_KEY", google_account(address))],
        };
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Its stores, reached from this process. The emulator's own variable is one of the process, so
    /// Azurite is an endpoint here.
    pub(crate) fn stores(self) -> Stores {
        let variables = match self {
            Server::Azure => [
                ("AZURE_STORAGE_ACCOUNT_NAME", "devstoreaccount1".to_owned()),
                ("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY.to_owned()),
                (
                    "AZURE_ENDPOINT",
                    format!("{}/devstoreaccount1", self.address()),
                ),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec(),
            other => other.variables_at(&self.address()),
        };
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        Stores::new(variables, BTreeMap::new()).expect("stores")
    }

    /// A place, by its URL.
    pub(crate) fn at(self, url: &str) -> Location {
        Location::parse(url, Path::new("/"), &self.stores()).expect("a URL")
    }

    /// The keys of all objects below a URL, without what they have in common, sorted. Hidden ones
    /// are among them.
    pub(crate) fn keys(self, url: &str) -> Vec<String> {
        let mut keys: Vec<String> = self.objects(url).into_keys().collect();
        keys.sort();
        keys
    }

    /// All objects below a URL, with what changes when one is rewritten.
    pub(crate) fn objects(self, url: &str) -> BTreeMap<String, String> {
        let root = self.at(url);
        let below = root.join("**");
        let objects = below.objects_like().expect("listed");
        objects
            .into_iter()
            .map(|object| (object.location.below(&root).expect("below it"), object.etag))
            .collect()
    }
}

/// A key of a service account that needs no signature, for a server at an address.
fn google_account(address: &str) -> String {
    format!(
        r#"{{"gcs_base_url":"{address}","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}}"#
    )
}

/// The store that a place is in, and the key of the place.
pub(crate) fn store_and_key(place: &Location) -> (Arc<Store>, String) {
    let store = place.store().expect("in a store").clone();
    let key = place.to_string()[store.url().len()..]
        .trim_start_matches('/')
        .to_owned();
    (store, key)
}

impl World {
    /// Tells the program of this world how a server is reached.
    pub(crate) fn reaches(&mut self, server: Server) {
        self.reaches_at(server, &server.address());
    }

    /// The same, for a server behind another address.
    pub(crate) fn reaches_at(&mut self, server: Server, address: &str) {
        for (name, value) in server.variables_at(address) {
            self.variable(&name, &value);
        }
    }
}
