//! What is said of an `asof.toml` that cannot be read.
//!
//! The parser quotes the line that is wrong, which is what a user wants to see, unless the line may
//! hold a secret: that of a store, or one that is named so. Then place and reason have to do.

use std::path::Path;

use crate::did_you_mean::nearest;
use crate::error::Error;

/// What names a secret.
const SECRETS: [&str; 6] = [
    "stores",
    "secret",
    "token",
    "password",
    "credential",
    "_key",
];

/// Tables of the file that are not stores.
const OTHERS: [&str; 5] = ["tables", "events", "jobs", "limits", "openlineage"];

/// The error of a file whose text the parser refuses.
pub(super) fn wrong(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let at = error.span().map_or(0, |span| span.start).min(text.len());
    let why = if may_hold_a_secret(text, at) {
        format!("{}: {}", place(text, at), without_value(error.message()))
    } else {
        error.to_string().trim_end().to_owned()
    };
    let wrong = Error::usage(format!("'{}' is wrong: {why}", path.display()));
    match nearest_setting(error.message()) {
        Some(near) => wrong.hint(format!("did you mean '{near}'?")),
        None => wrong,
    }
}

/// Whether the line at a byte is in a table of stores, or says of itself that it is secret.
fn may_hold_a_secret(text: &str, at: usize) -> bool {
    let mut is_of_stores = false;
    let mut begins = 0;
    for line in text.split_inclusive('\n') {
        if let Some(header) = line.trim_start().strip_prefix('[') {
            let name = header.trim_start_matches(['[', ' ', '\t', '"', '\'']);
            if name.starts_with("stores") {
                is_of_stores = true;
            } else if OTHERS.iter().any(|other| name.starts_with(other)) {
                is_of_stores = false;
            }
        }
        begins += line.len();
        if at < begins {
            let line = line.to_lowercase();
            return is_of_stores || SECRETS.iter().any(|secret| line.contains(secret));
        }
    }
    // A text that ends too early: whatever was open is what is wrong.
    let last = text.lines().next_back().unwrap_or_default().to_lowercase();
    is_of_stores || SECRETS.iter().any(|secret| last.contains(secret))
}

/// The line and the column of a byte, as the parser counts them.
fn place(text: &str, at: usize) -> String {
    let before: String = text
        .char_indices()
        .take_while(|(byte, _)| *byte < at)
        .map(|(_, c)| c)
        .collect();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    format!("line {line}, column {column}")
}

/// What the parser says, without the text that it expected to be something else.
fn without_value(message: &str) -> String {
    match message.split_once("string \"") {
        Some((before, rest)) => {
            let after = rest.rsplit_once('"').map_or("", |(_, after)| after);
            format!("{before}string{after}")
        }
        None => message.to_owned(),
    }
}

/// The setting that an unknown one was meant to be, from what the parser says: "unknown field `x`,
/// expected one of `a`, `b`".
fn nearest_setting(message: &str) -> Option<&str> {
    let (unknown, known) = message.strip_prefix("unknown field `")?.split_once('`')?;
    nearest(unknown, known.split('`').skip(1).step_by(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn message(text: &str) -> String {
        let error = toml::from_str::<Config>(text).expect_err(text);
        wrong(Path::new("asof.toml"), text, &error).to_string()
    }

    #[test]
    fn a_line_that_may_hold_a_secret_is_not_quoted() {
        for text in [
            "[stores.s3]\nsecret_access_key = \"hunter2\n",
            "[stores.s3]\nregion = \"x\"\nregion = \"hunter2\"\n",
            "[stores.s3]\nregion = [\"hunter2\"]\n",
            "[stores]\ns3 = \"hunter2\"\n",
            "[ \"stores\".\"s3://b\" ]\nregion = 'hunter2\n",
            "stores = { s3 = { region = \"hunter2 } }\n",
            "stores = \"hunter2\"\n",
            "stores.s3.region = hunter2\n",
            "[stores.gs]\nservice_account_key = '''\n[\nhunter2",
            "[stores.s3]\nregion = \"\"\"\nhunter2\n",
            "[jobs.x]\ncommand = [\"run\", \"--password\", \"hunter2]\n",
            "lake = \"s3://key:hunter2@b/lake\n",
        ] {
            let shown = message(text);
            assert!(!shown.contains("hunter2"), "{text}: {shown}");
            assert!(shown.contains("line "), "{shown}");
        }
        assert_eq!(
            message("[stores.s3]\nregion = \"ä\" x\n"),
            "'asof.toml' is wrong: line 2, column 14: unexpected key or value, expected newline, `#`"
        );
    }

    #[test]
    fn other_lines_are_quoted() {
        let shown = message("[stores.s3]\nregion = 'x'\n[tables.t]\nsource = 'x\n");
        assert!(shown.contains("4 | source = 'x"), "{shown}");
    }
}
