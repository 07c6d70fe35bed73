//! Secrets, and how they stay out of what is printed.
//!
//! | a secret comes from | and stays out of messages because |
//! | --- | --- |
//! | the environment, `[stores]`, profiles of AWS | it is a [`Secret`], which cannot be printed |
//! | the user info or the query of a URL | messages are `concealed` |
//! | `${VAR}` of a path in `asof.toml` | `conceal_variable` notes the path, and messages are `concealed` |
//!
//! Every [`crate::error::Error`] conceals its message and its hints, and the command line conceals
//! notes and logs. Results on standard output are data, for programs that open the files they name:
//! they hold paths as they are, except for variables whose names say that they hold credentials.

use std::borrow::Cow;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use serde::Deserialize;

/// What stands in the place of a secret.
const CONCEALED: &str = "[concealed]";

/// The fewest bytes of a value that is concealed wherever it stands alone. A shorter one, such as
/// `dev`, is a word of messages, and is concealed only in its path.
const LONG: usize = 6;

/// The schemes of URLs that are told from paths even if a slash is missing.
const SCHEMES: [&str; 13] = [
    "s3",
    "s3a",
    "gs",
    "az",
    "azure",
    "abfs",
    "abfss",
    "http",
    "https",
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
];

/// The schemes of URLs whose `@` follows what is not a secret by itself: a container, or the user
/// of a database.
const NAMES_BEFORE_AT: [&str; 8] = [
    "abfs",
    "abfss",
    "az",
    "azure",
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
];

/// What the name of a variable that holds a credential contains, in upper case and without `_`.
const CREDENTIALS: [&str; 9] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "APIKEY",
    "ACCESSKEY",
    "PRIVATEKEY",
];

/// A text that may be a secret. It cannot be printed.
#[derive(Clone, Default, Deserialize, Eq, PartialEq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text, for whoever needs it. It must not go into a message.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The words of a library without this text in them.
    pub(crate) fn conceal(&self, words: &str) -> String {
        let value = self.0.trim_matches('"');
        let is_a_word = value.len() < LONG || value.bytes().all(|byte| byte.is_ascii_digit());
        if value.is_empty() {
            words.to_owned()
        } else if is_a_word {
            ["\"", "'", "`"]
                .iter()
                .fold(words.to_owned(), |words, quote| {
                    words.replace(&format!("{quote}{value}{quote}"), CONCEALED)
                })
        } else {
            words.replace(value, CONCEALED)
        }
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CONCEALED)
    }
}

/// A text that a variable's value makes, and how it was written.
#[derive(PartialEq)]
struct Expanded {
    value: String,
    written: String,
    /// What follows the text in its path, if anything does.
    next: Option<char>,
    /// Whether the name of the variable says that it holds a credential.
    is_credential: bool,
}

/// What the paths of this process's configuration were expanded to.
static EXPANDED: RwLock<Vec<Expanded>> = RwLock::new(Vec::new());

/// Notes that the variable `name`, whose value is `value`, stands in a path between `before` and
/// `after`, which are as the configuration has them.
pub(crate) fn conceal_variable(before: &str, name: &str, value: &str, after: &str) {
    if value.is_empty() {
        return;
    }
    let fragment = before
        .rsplit(['*', '?', '[', ']', '}'])
        .next()
        .unwrap_or_default();
    let written = format!("${{{name}}}");
    let is_credential = is_name_of_a_credential(name);
    let mut all = EXPANDED.write().unwrap_or_else(PoisonError::into_inner);
    let mut note = |expanded: Expanded| {
        if !all.contains(&expanded) {
            all.push(expanded);
        }
    };
    let next = after.chars().next();
    let is_long = value.len() >= LONG;
    if is_long || !fragment.is_empty() || next.is_some() {
        note(Expanded {
            value: format!("{fragment}{value}"),
            written: format!("{fragment}{written}"),
            next,
            is_credential,
        });
    }
    if is_long {
        note(Expanded {
            value: value.to_owned(),
            written,
            next: None,
            is_credential,
        });
    }
}

/// Whether the name of a variable says that it holds a credential.
fn is_name_of_a_credential(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace('_', "");
    CREDENTIALS.iter().any(|part| name.contains(part))
}

/// A message without what may be secret in its URLs, and with `${VAR}` where a path of the
/// configuration has it.
pub(crate) fn concealed(text: &str) -> String {
    with_variables(without_user_info(text), |_| true).into_owned()
}

/// A path of a result, with `${VAR}` in the place of the credentials that paths of the
/// configuration hold.
pub(crate) fn without_credentials(path: &str) -> String {
    let is_taken = |expanded: &Expanded| expanded.is_credential && expanded.value.len() >= LONG;
    with_variables(Cow::Borrowed(path), is_taken).into_owned()
}

/// A text with `${VAR}` in the place of the values that are taken.
fn with_variables(mut text: Cow<'_, str>, is_taken: impl Fn(&Expanded) -> bool) -> Cow<'_, str> {
    let all = EXPANDED.read().unwrap_or_else(PoisonError::into_inner);
    for expanded in all.iter().filter(|expanded| is_taken(expanded)) {
        if text.contains(&expanded.value) {
            text = Cow::Owned(as_written(&text, expanded));
        }
    }
    text
}

/// A text with what stands for a variable in the places of its value. A longer word that only
/// holds the value stays.
fn as_written(text: &str, expanded: &Expanded) -> String {
    let is_of_a_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut shown = String::new();
    let mut done = 0;
    for (at, value) in text.match_indices(&expanded.value) {
        let end = at + value.len();
        let before = text[..at].chars().next_back();
        let begins = !before.is_some_and(is_of_a_word) || value.starts_with('/');
        let ends = match text[end..].chars().next() {
            None => true,
            Some(next) => expanded.next == Some(next) || !is_of_a_word(next),
        };
        if begins && ends {
            shown += &text[done..at];
            shown += &expanded.written;
            done = end;
        }
    }
    shown + &text[done..]
}

/// Whether what follows `scheme://` begins with user info, such as `key:secret@`. The container of
/// `abfss://container@account` and the user of `postgres://user@host` are none.
pub(crate) fn has_user_info(scheme: &str, rest: &str) -> bool {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let is_a_name = NAMES_BEFORE_AT.contains(&scheme);
    match authority.split_once('@') {
        Some((user, host)) => !is_a_name || user.contains(':') || host.contains('@'),
        // A secret may hold a '/'. A port is a number.
        None => {
            rest.contains('@')
                && authority
                    .split_once(':')
                    .is_some_and(|(_, port)| port.parse::<u16>().is_err())
        }
    }
}

/// Whether a URL's query is a signature or a token, such as that of a shared access signature.
pub(crate) fn has_secret_query(rest: &str) -> bool {
    rest.split_once('?').is_some_and(|(_, query)| {
        query.split('&').any(|pair| {
            pair.split_once('=').is_some_and(|(name, _)| {
                let name = name.to_ascii_lowercase();
                ["sig", "token", "secret", "password", "key", "credential"]
                    .iter()
                    .any(|secret| name.contains(secret))
            })
        })
    })
}

/// A text whose URLs have no user info and no query that may be secret.
fn without_user_info(text: &str) -> Cow<'_, str> {
    if !text.contains(":/") {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(":/") {
        let scheme = before
            .rsplit(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)))
            .next()
            .unwrap_or_default();
        shown += before;
        shown += ":/";
        // A slash is easily forgotten.
        rest = after;
        match after.strip_prefix('/') {
            Some(after) => {
                shown += "/";
                rest = after;
            }
            None if SCHEMES.contains(&scheme) => {}
            None => continue,
        }
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '`'))
            .unwrap_or(rest.len());
        let (mut url, tail) = rest.split_at(end);
        if has_user_info(scheme, url) {
            shown += CONCEALED;
            url = url.rfind('@').map_or("", |at| &url[at..]);
        }
        match url.split_once('?') {
            Some((path, _)) if has_secret_query(url) => {
                shown += path;
                shown += "?";
                shown += CONCEALED;
            }
            _ => shown += url,
        }
        rest = tail;
    }
    Cow::Owned(shown + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret:?}"), "[concealed]");
        assert_eq!(
            secret.conceal("invalid type: string \"hunter2\""),
            "invalid type: string \"[concealed]\""
        );
        assert_eq!(
            Secret::from("true").conceal("`true` is not true"),
            "[concealed] is not true"
        );
        assert_eq!(Secret::default().conceal("no value"), "no value");
    }

    #[test]
    fn urls_have_no_user_info_and_no_signature() {
        for (text, shown) in [
            ("'s3://AKID:pw@b/x.csv'", "'s3://[concealed]@b/x.csv'"),
            (
                "s3://AKID:p/w@x@b/y and more",
                "s3://[concealed]@b/y and more",
            ),
            ("https://token@host/p", "https://[concealed]@host/p"),
            ("s3:/AKID:pw@b/x.csv", "s3:/[concealed]@b/x.csv"),
            ("at:/a@b", "at:/a@b"),
            ("abfss://user:pw@c@a.net/p", "abfss://[concealed]@a.net/p"),
            ("abfss://c@a.net/p", "abfss://c@a.net/p"),
            ("postgres://u@h:5/d", "postgres://u@h:5/d"),
            ("mysql://u:p/w@h/d", "mysql://[concealed]@h/d"),
            (
                "http://127.0.0.1:9000/b/x@2.csv",
                "http://127.0.0.1:9000/b/x@2.csv",
            ),
            ("s3://b/x@2.csv", "s3://b/x@2.csv"),
            ("az://c/p?sv=1&sig=pw', or", "az://c/p?[concealed]', or"),
            ("s3://b/day=?/x.csv", "s3://b/day=?/x.csv"),
            (
                "one http://a:b@c two ftp://d:e@f",
                "one http://[concealed]@c two ftp://[concealed]@f",
            ),
        ] {
            assert_eq!(concealed(text), shown);
        }
    }

    #[test]
    fn a_variable_of_a_path_is_shown_as_it_is_written() {
        conceal_variable("exports-of-", "TEST_PW", "a-b", "/i.csv");
        conceal_variable("", "TEST_LONG", "long-value-of-it", "");
        assert_eq!(
            concealed("cannot read '/base/exports-of-a-b/i.csv'"),
            "cannot read '/base/exports-of-${TEST_PW}/i.csv'"
        );
        assert_eq!(
            concealed("exports-of-a-bc and no-exports, a-b"),
            "exports-of-a-bc and no-exports, a-b"
        );
        assert_eq!(
            concealed("a long-value-of-it, not long-value-of-items"),
            "a ${TEST_LONG}, not long-value-of-items"
        );
    }

    #[test]
    fn results_show_paths_as_they_are_except_for_credentials() {
        conceal_variable("", "TEST_FOLDER", "folder-of-results", "/x");
        conceal_variable("share-", "Test_Api_Key", "k-1", "/x");
        conceal_variable("", "TEST_TOKEN", "tok", "/x");
        conceal_variable("", "TEST_SECRET", "s3cr3t-of-it", "/x");
        for (text, shown) in [
            ("folder-of-results/x", "folder-of-results/x"),
            ("/a/share-k-1/x", "/a/share-${Test_Api_Key}/x"),
            // Too short to be told from a word.
            ("tok/x", "tok/x"),
            ("/s3cr3t-of-it/x", "/${TEST_SECRET}/x"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
        for (name, holds) in [("PWD", false), ("SORT_KEY", false), ("db_password", true)] {
            assert_eq!(is_name_of_a_credential(name), holds, "{name}");
        }
    }
}
