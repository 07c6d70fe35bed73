//! Options of stores: where they come from, and which one holds.
//!
//! A profile of AWS, the environment, `[stores]` of asof.toml for a service, and for one bucket:
//! what a later one says overrules an earlier one, and credentials are taken from one of them
//! whole. The names of options are those of the `object_store` crate.

use std::collections::BTreeMap;
use std::str::FromStr;

use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;

use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::storage::object_store::profile;
use crate::storage::object_store::service::Service;

/// What `[stores]` says: by bucket (`s3://shop`) or service (`s3`), then by option.
pub type Sections = BTreeMap<String, BTreeMap<String, Secret>>;

/// Refuses a section of `[stores]`, or an option in it, that there is not.
pub(super) fn check_section(section: &str, options: &BTreeMap<String, Secret>) -> Result<()> {
    let service =
        Service::of(section.split("://").next().unwrap_or_default()).ok_or_else(|| {
            Error::usage(format!("[stores.{section}]: unknown object store type"))
                .hint("[stores.s3], [stores.gs], [stores.az] or [stores.\"s3://bucket\"]")
        })?;
    let names_a_path = section
        .split_once("://")
        .is_some_and(|(_, bucket)| bucket.is_empty() || bucket.contains('/'));
    let named = |section: &str| {
        Error::usage(format!(
            "[stores.\"{section}\"] is neither a service nor a bucket"
        ))
    };
    if names_a_path || !section.contains("://") && section != service.section() {
        let bucket = section
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split('/').next())
            .filter(|bucket| !bucket.is_empty());
        let section_hint = bucket.map_or_else(
            || format!("[stores.{}]", service.section()),
            |bucket| format!("[stores.\"{}://{bucket}\"]", service.section()),
        );
        return Err(named(section).hint(section_hint));
    }
    for key in options.keys() {
        if !OWN_OPTIONS.contains(&key.as_str()) && !service.knows(key) {
            return Err(
                Error::usage(format!("[stores.{section}]: there is no option '{key}'"))
                    .hint_nearest(key, USUAL_OPTIONS, || {
                        "docs/stores.md lists the options".to_owned()
                    }),
            );
        }
    }
    Ok(())
}

/// The options of a store: of the profile, then of the environment, then of its service, then
/// of its bucket.
pub(super) fn options(
    variables: &[(String, Secret)],
    configured: &Sections,
    service: Service,
    url: &str,
) -> Result<BTreeMap<String, Secret>> {
    let variable = |name: &str| {
        variables
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    };
    let profile = if service == Service::S3 {
        profile::options(variable)?
    } else {
        BTreeMap::new()
    };
    let known = |(name, value): &(String, Secret)| {
        let key = name.to_ascii_lowercase();
        (name.starts_with(service.variables()) && service.knows(&key)).then(|| (key, value.clone()))
    };
    let configured = |section: &str| {
        let options = configured.get(section).into_iter().flatten();
        options
            .map(|(key, value)| (key.to_ascii_lowercase(), value.clone()))
            .collect::<BTreeMap<_, _>>()
    };
    let layers = [
        profile,
        variables.iter().filter_map(known).collect(),
        configured(service.section()),
        configured(&usual_name(url)),
    ];
    let mut options: BTreeMap<String, Secret> = BTreeMap::new();
    for layer in layers {
        // Credentials come whole or not at all: the token of one place does not go with the key
        // of another.
        if layer.keys().any(|key| service.is_credential(key)) {
            options.retain(|known, _| !service.is_credential(known));
        }
        for (key, value) in layer {
            options.retain(|known, _| !same_option(service, known, &key));
            options.insert(key, value);
        }
    }
    Ok(options)
}

/// A section of `[stores]`, or a URL up to its path, with the usual name of its scheme.
pub(super) fn usual_name(section: &str) -> String {
    match section
        .split_once("://")
        .and_then(|(scheme, bucket)| Some((Service::of(scheme)?, bucket)))
    {
        Some((service, bucket)) => format!("{}://{bucket}", service.section()),
        None => section.to_owned(),
    }
}

/// Options that one may have meant.
const USUAL_OPTIONS: [&str; 20] = [
    "access_key_id",
    "account_key",
    "account_name",
    "allow_http",
    "client_id",
    "client_secret",
    "endpoint",
    "max_retries",
    "region",
    "retry_timeout",
    "sas_token",
    "secret_access_key",
    "server_side_encryption",
    "service_account",
    "service_account_key",
    "session_token",
    "skip_signature",
    "tenant_id",
    "use_azure_cli",
    "virtual_hosted_style_request",
];

/// Options of `[stores]` that are asof's own.
const OWN_OPTIONS: [&str; 2] = ["max_retries", "retry_timeout"];

/// Whether two names are of one option.
fn same_option(service: Service, one: &str, other: &str) -> bool {
    let one = one.to_ascii_lowercase();
    let other = other.to_ascii_lowercase();
    match service {
        Service::S3 => AmazonS3ConfigKey::from_str(&one)
            .is_ok_and(|key| AmazonS3ConfigKey::from_str(&other).is_ok_and(|other| key == other)),
        Service::Google => GoogleConfigKey::from_str(&one)
            .is_ok_and(|key| GoogleConfigKey::from_str(&other).is_ok_and(|other| key == other)),
        Service::Azure => AzureConfigKey::from_str(&one)
            .is_ok_and(|key| AzureConfigKey::from_str(&other).is_ok_and(|other| key == other)),
        Service::Memory => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(
        variables: &[(&str, &str)],
        configured: &[(&str, &[(&str, &str)])],
        service: Service,
        url: &str,
    ) -> BTreeMap<String, Secret> {
        let text = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), Secret::from(*value)))
                .collect::<Vec<_>>()
        };
        let configured = configured
            .iter()
            .map(|(section, pairs)| ((*section).to_owned(), text(pairs).into_iter().collect()))
            .collect();
        super::options(&text(variables), &configured, service, url).expect("options")
    }

    #[test]
    fn a_bucket_comes_before_its_service_and_both_before_the_environment() {
        let variables = [
            ("AWS_ENDPOINT_URL", "http://a"),
            ("AWS_REGION", "r"),
            ("AZURE_STORAGE_ACCOUNT_NAME", "x"),
            ("AWS_PAGER", "less"),
        ];
        let configured: [(&str, &[(&str, &str)]); 2] = [
            ("s3", &[("endpoint", "http://b")]),
            ("s3://shop", &[("endpoint_url", "http://c")]),
        ];
        let found = options(&variables, &configured, Service::S3, "s3://shop");
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(key, value)| (key.as_str(), value.expose()))
            .collect();
        assert_eq!(found, [("aws_region", "r"), ("endpoint_url", "http://c")]);
        assert_eq!(
            options(&variables, &configured, Service::S3, "s3://other")["endpoint"].expose(),
            "http://b"
        );
        assert_eq!(
            options(&variables, &configured, Service::Azure, "az://x").len(),
            1
        );
    }

    #[test]
    fn keys_of_two_places_are_not_mixed() {
        let variables = [
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
            ("AWS_SESSION_TOKEN", "c"),
        ];
        let configured: [(&str, &[(&str, &str)]); 1] =
            [("s3", &[("access_key_id", "d"), ("secret_access_key", "e")])];
        let found = options(&variables, &configured, Service::S3, "s3://shop");
        assert_eq!(
            found.values().map(Secret::expose).collect::<Vec<_>>(),
            ["d", "e"]
        );
    }

    #[test]
    fn credentials_of_another_kind_take_the_place_of_those_before() {
        let variables = [
            ("AZURE_STORAGE_ACCOUNT_NAME", "a"),
            ("AZURE_STORAGE_ACCOUNT_KEY", "k"),
        ];
        let configured: [(&str, &[(&str, &str)]); 1] = [("az://x", &[("sas_token", "s")])];
        let found = options(&variables, &configured, Service::Azure, "azure://x");
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            ["azure_storage_account_name", "sas_token"]
        );
    }
}
