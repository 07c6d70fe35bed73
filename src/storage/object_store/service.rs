//! The services that stores are buckets of, and what is said of their objects.

use std::str::FromStr;

use object_store::UpdateVersion;
use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;

/// The kind of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Amazon S3, or a service that speaks its language.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
    /// The memory of this process, for tests.
    Memory,
}

impl Service {
    /// The service of a URL's scheme.
    pub fn of(scheme: &str) -> Option<Service> {
        match scheme {
            "s3" | "s3a" => Some(Service::S3),
            "gs" => Some(Service::Google),
            "az" | "azure" | "abfs" | "abfss" => Some(Service::Azure),
            _ => None,
        }
    }

    /// The name under which `[stores]` configures all buckets of the service.
    pub(crate) fn section(self) -> &'static str {
        match self {
            Service::S3 => "s3",
            Service::Google => "gs",
            Service::Azure => "az",
            Service::Memory => "memory",
        }
    }

    /// How the service's variables in the environment begin.
    pub(crate) fn variables(self) -> &'static str {
        match self {
            Service::S3 => "AWS_",
            Service::Google => "GOOGLE_",
            Service::Azure => "AZURE_",
            Service::Memory => "-",
        }
    }

    /// Whether an option says who asks.
    pub(crate) fn is_credential(self, key: &str) -> bool {
        use {AmazonS3ConfigKey as S3, AzureConfigKey as Azure, GoogleConfigKey as Google};
        let key = key.to_ascii_lowercase();
        match self {
            Service::S3 => S3::from_str(&key).is_ok_and(|key| {
                matches!(
                    key,
                    S3::AccessKeyId
                        | S3::SecretAccessKey
                        | S3::Token
                        | S3::WebIdentityTokenFile
                        | S3::RoleArn
                        | S3::RoleSessionName
                        | S3::ContainerCredentialsRelativeUri
                        | S3::ContainerCredentialsFullUri
                        | S3::ContainerAuthorizationTokenFile
                        | S3::SkipSignature
                )
            }),
            Service::Google => Google::from_str(&key).is_ok_and(|key| {
                matches!(
                    key,
                    Google::ServiceAccount
                        | Google::ServiceAccountKey
                        | Google::ApplicationCredentials
                        | Google::SkipSignature
                )
            }),
            Service::Azure => Azure::from_str(&key).is_ok_and(|key| {
                matches!(
                    key,
                    Azure::AccessKey
                        | Azure::SasKey
                        | Azure::Token
                        | Azure::ClientId
                        | Azure::ClientSecret
                        | Azure::AuthorityId
                        | Azure::FederatedTokenFile
                        | Azure::MsiEndpoint
                        | Azure::ObjectId
                        | Azure::MsiResourceId
                        | Azure::UseAzureCli
                        | Azure::UseEmulator
                        | Azure::SkipSignature
                )
            }),
            Service::Memory => false,
        }
    }

    pub(crate) fn knows(self, key: &str) -> bool {
        match self {
            Service::S3 => AmazonS3ConfigKey::from_str(key).is_ok(),
            Service::Google => GoogleConfigKey::from_str(key).is_ok(),
            Service::Azure => AzureConfigKey::from_str(key).is_ok(),
            Service::Memory => false,
        }
    }
}

/// The condition under which an object is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteCondition {
    /// Nothing has its name.
    Absent,
    /// What has its name is still this version.
    Unchanged(UpdateVersion),
}

/// What is known of an object without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectFacts {
    /// The size of the object in bytes.
    pub size: u64,
    /// What changes when the object is rewritten: the ETag.
    pub etag: Option<String>,
    /// The version of the object, where the service numbers versions.
    pub version: Option<String>,
}

impl ObjectFacts {
    /// The version, to replace that and no other.
    pub fn unchanged(&self) -> WriteCondition {
        WriteCondition::Unchanged(UpdateVersion {
            e_tag: self.etag.clone(),
            version: self.version.clone(),
        })
    }
}
