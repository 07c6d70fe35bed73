//! What the failures of a service mean: who can mend them, and how.

use crate::error::Error;

const CREDENTIALS: &str = "check the credentials in the environment or in [stores] of asof.toml; \
                           see docs/stores.md";

const REGION: &str =
    "AWS_REGION=REGION, or region = \"REGION\" in [stores], where REGION is the bucket's";

/// What the codes of services say of the configuration, and what mends it.
const CODES: [(&[&str], &str); 3] = [
    (
        &["NoSuchBucket", "ContainerNotFound"],
        "create the bucket or container first; asof creates none",
    ),
    (
        &[
            "AccessDenied",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "ExpiredToken",
            "InvalidToken",
            "AuthenticationFailed",
            "AuthorizationFailure",
            "AuthorizationPermissionMismatch",
        ],
        CREDENTIALS,
    ),
    (
        &[
            "AuthorizationHeaderMalformed",
            "PermanentRedirect",
            "IllegalLocationConstraintException",
            "InvalidBucketName",
        ],
        REGION,
    ),
];

/// What is asked for credentials on a machine of a provider's: that it is asked at all means that
/// none are configured. Otherwise, what says that the address is wrong.
const WORDS: [(&[&str], &str); 4] = [
    (
        &["/computeMetadata/"],
        "there are no credentials: set GOOGLE_SERVICE_ACCOUNT or GOOGLE_SERVICE_ACCOUNT_KEY; see \
         docs/stores.md",
    ),
    (
        &["/metadata/identity/"],
        "there are no credentials: set AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or \
         AZURE_CLIENT_ID and the variables that belong to it; see docs/stores.md",
    ),
    (
        &["169.254."],
        "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
         AWS_SKIP_SIGNATURE=true for a public bucket; see docs/stores.md",
    ),
    (
        &[
            "Connection refused",
            "dns error",
            "failed to lookup address",
            "InvalidContentType",
            "deadline has elapsed",
            "timed out",
        ],
        "check the endpoint, and whether it is http:// or https://: AWS_ENDPOINT_URL, \
         AZURE_STORAGE_ENDPOINT, or endpoint in [stores]",
    ),
];

/// A failure of a store as one of ours: what the scheduler should do, and what was said at the
/// bottom of it.
pub(crate) fn failure(doing: &str, error: object_store::Error) -> Error {
    explained(doing, &error).caused_by(error)
}

fn explained(doing: &str, error: &object_store::Error) -> Error {
    use object_store::Error as E;
    let why = cause(error);
    let message = format!("{doing}: {why}");
    // A listing that is refused is of no kind: its words tell.
    let mut codes = CODES.iter();
    if let Some((_, hint)) = codes.find(|(codes, _)| codes.iter().any(|code| why.starts_with(code)))
    {
        return Error::usage(message).hint(*hint);
    }
    if why.contains("redirect without LOCATION") {
        return Error::usage(message).hint(REGION);
    }
    match error {
        E::InvalidPath { .. } => Error::refused(message).hint(
            "a key with an empty part, or the part '.' or '..', cannot be read: \
             rename or remove that object",
        ),
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => {
            Error::usage(message).hint(CREDENTIALS)
        }
        E::NotSupported { .. } | E::NotImplemented { .. } | E::UnknownConfigurationKey { .. } => {
            Error::usage(message)
        }
        E::Precondition { .. } => Error::io(format!("{doing}: it was replaced while being read"))
            .hint("run the same command again"),
        _ => {
            let mut known = WORDS.iter();
            let failed = Error::io(message);
            match known.find(|(words, _)| words.iter().any(|words| why.contains(words))) {
                Some((_, hint)) => failed.hint(*hint),
                None => failed,
            }
        }
    }
}

/// What is at the bottom of an error, without the layers above: a service's own code and message,
/// or the system's.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let whole = error.to_string();
    let between = |from: &str, to: &str| {
        whole
            .split_once(from)
            .and_then(|(_, rest)| rest.split_once(to))
            .map(|(found, _)| found.trim().to_owned())
    };
    if let Some(code) = between("<Code>", "</Code>") {
        let said = between("<Message>", "</Message>").unwrap_or_default();
        let said = said.lines().next().unwrap_or_default();
        return if said.is_empty() || said == code {
            code
        } else {
            format!("{code}: {said}")
        };
    }
    let mut bottom: &dyn std::error::Error = error;
    while let Some(deeper) = bottom.source() {
        bottom = deeper;
    }
    let bottom = bottom.to_string();
    let address = between("Error performing ", " in ").map(|request| {
        request
            .split(' ')
            .next_back()
            .unwrap_or_default()
            .to_owned()
    });
    let bottom = bottom
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches([':', ' '])
        .to_owned();
    match address.filter(|address| !bottom.contains(address.as_str())) {
        Some(address) => format!(
            "{bottom} ({})",
            address.split('?').next().unwrap_or_default()
        ),
        None => bottom,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_the_service_said() {
        let said = "Server returned non-2xx status code: 403 Forbidden: \
         <?xml?><Error><Code>AccessDenied</Code><Message>No.</Message></Error>";
        let error = object_store::Error::Generic {
            store: "S3",
            source: said.into(),
        };
        let error = failure("cannot list 's3://shop'", error);
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (
                crate::error::Kind::Usage,
                "cannot list 's3://shop': AccessDenied: No."
            )
        );
    }
}
