//! Profiles of AWS: what `~/.aws/credentials` and `~/.aws/config` say, as the AWS command line has
//! it.
//!
//! Read are the keys, the region and the endpoint of one profile: that of `AWS_PROFILE`, or
//! `default`. Variables of the environment come before it, and `[stores]` before both. A profile
//! that asks for a login, a role or a program has no keys to be read: the AWS command line turns it
//! into variables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use configparser::ini::{Ini, IniDefault};

use crate::error::{Error, Result};
use crate::secret::Secret;

/// What is read of a profile, by the names of the options.
const READ: [&str; 5] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "region",
    "endpoint_url",
];
/// Settings of a profile whose keys come from elsewhere than the profile itself.
const ELSEWHERE: [&str; 5] = [
    "sso_session",
    "sso_start_url",
    "role_arn",
    "credential_process",
    "web_identity_token_file",
];

/// The options of the profile that the environment's variables choose; none if there is none.
///
/// # Errors
/// A usage error if `AWS_PROFILE` names one that there is not, or whose keys come from
/// elsewhere.
pub(crate) fn options(
    variable: impl Fn(&str) -> Option<Secret>,
) -> Result<BTreeMap<String, Secret>> {
    let text = |name: &str| variable(name).map(|value| value.expose().to_owned());
    let named = text("AWS_PROFILE").filter(|name| !name.is_empty());
    let name = named.clone().unwrap_or_else(|| "default".to_owned());
    let file = |variable_name: &str, usual: &str| {
        text(variable_name)
            .map(PathBuf::from)
            .or_else(|| Some(Path::new(&text("HOME")?).join(".aws").join(usual)))
    };
    let credentials = section(file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), &[&name]);
    let config = section(
        file("AWS_CONFIG_FILE", "config"),
        &[&format!("profile {name}"), &name],
    );
    let all = match (merged(credentials, config), &named) {
        (Some(all), None) => return Ok(kept(all)),
        (Some(all), Some(_)) => all,
        (None, None) => return Ok(BTreeMap::new()),
        (None, Some(name)) => {
            let what = format!(
                "AWS_PROFILE is '{name}', and neither ~/.aws/credentials nor ~/.aws/config has \
                 such a profile"
            );
            return Err(Error::usage(what).hint("aws configure list-profiles"));
        }
    };
    let has_keys = all.contains_key("aws_access_key_id");
    let in_environment = variable("AWS_ACCESS_KEY_ID").is_some();
    if let Some(way) = ELSEWHERE
        .iter()
        .find(|way| all.contains_key(**way))
        .filter(|_| !has_keys && !in_environment)
    {
        return Err(Error::usage(format!(
            "the AWS profile '{name}' uses '{way}' instead of keys, which asof does not support"
        ))
        .hint(format!(
            "eval \"$(aws configure export-credentials --profile {name} --format env)\""
        )));
    }
    Ok(kept(all))
}

fn kept(all: BTreeMap<String, Secret>) -> BTreeMap<String, Secret> {
    all.into_iter()
        .filter(|(key, _)| READ.contains(&key.as_str()))
        .collect()
}

/// The values of the credentials' section before those of the configuration's.
fn merged(
    credentials: Option<BTreeMap<String, Secret>>,
    config: Option<BTreeMap<String, Secret>>,
) -> Option<BTreeMap<String, Secret>> {
    match (credentials, config) {
        (None, None) => None,
        (one, other) => {
            let mut all = other.unwrap_or_default();
            all.extend(one.unwrap_or_default());
            Some(all)
        }
    }
}

/// The first of some sections that a file has; a file that is not there has none.
fn section(file: Option<PathBuf>, names: &[&str]) -> Option<BTreeMap<String, Secret>> {
    let text = std::fs::read_to_string(file?).ok()?;
    let mut format = IniDefault::default();
    format.delimiters = vec!['='];
    format.inline_comment_symbols = Some(Vec::new());
    format.case_sensitive = true;
    let mut ini = Ini::new_from_defaults(format);
    let sections = ini.read(text).ok()?;
    let found = names.iter().find_map(|name| sections.get(*name))?;
    Some(
        found
            .iter()
            .filter_map(|(key, value)| Some((key.to_lowercase(), value.clone()?.into())))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        profile: Option<&str>,
        credentials: &str,
        config: &str,
    ) -> Result<BTreeMap<String, Secret>> {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(home.path().join(".aws")).expect("a folder");
        std::fs::write(home.path().join(".aws/credentials"), credentials).expect("written");
        std::fs::write(home.path().join(".aws/config"), config).expect("written");
        let root = home.path().display().to_string();
        options(|name| match name {
            "HOME" => Some(root.as_str().into()),
            "AWS_PROFILE" => profile.map(Secret::from),
            _ => None,
        })
    }

    const KEYS: &str = "[default]\naws_access_key_id = A\naws_secret_access_key=s#e;c=r\n[prod]\naws_access_key_id = B\naws_secret_access_key = t\n";

    #[test]
    fn a_profile_has_keys_and_a_region() {
        let found = of(
            Some("prod"),
            KEYS,
            "[profile prod]\nregion = eu-central-1\noutput = json\n",
        )
        .expect("options");
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(key, value)| (key.as_str(), value.expose()))
            .collect();
        assert_eq!(
            found,
            [
                ("aws_access_key_id", "B"),
                ("aws_secret_access_key", "t"),
                ("region", "eu-central-1")
            ]
        );
    }

    #[test]
    fn without_a_name_the_default_profile_serves_and_need_not_be_there() {
        assert_eq!(
            of(None, KEYS, "").expect("options")["aws_secret_access_key"].expose(),
            "s#e;c=r"
        );
        assert!(of(None, "", "").expect("options").is_empty());
        assert!(
            of(None, "", "[default]\nsso_session = x\n")
                .expect("options")
                .is_empty()
        );
    }

    #[test]
    fn a_profile_that_is_not_there_or_needs_a_login_is_refused() {
        assert!(
            of(Some("test"), KEYS, "")
                .expect_err("no such profile")
                .to_string()
                .contains("AWS_PROFILE is 'test'")
        );
        let error =
            of(Some("work"), "", "[profile work]\nsso_session = corp\n").expect_err("a login");
        assert_eq!(
            error.to_string(),
            "the AWS profile 'work' uses 'sso_session' instead of keys, which asof does not support"
        );
        assert!(error.hints()[0].contains("export-credentials --profile work"));
    }
}
