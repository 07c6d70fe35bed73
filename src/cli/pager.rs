//! A pager for long results, as git and bat have one: only on a terminal, and not if the result
//! fits on the screen, which `less -F` decides.

use std::env;
use std::io::{self, ErrorKind, IsTerminal};
use std::process::{Child, ChildStdin, Command, Stdio};

use tracing::debug;

/// The program that pages if the environment names none.
const DEFAULT: &str = "less";

/// A pager that runs.
pub(super) struct Pager {
    child: Child,
}

impl Pager {
    /// Starts the pager of the environment; none where standard output is not a terminal, where no
    /// pager is wanted, and where it cannot be started.
    pub(super) fn start() -> Option<(Self, ChildStdin)> {
        if !io::stdout().is_terminal() {
            return None;
        }
        let named = |name: &str| env::var(name).ok();
        let words = command(named("ASOF_PAGER"), named("PAGER"))?;
        let (program, arguments) = words.split_first()?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped());
        // As git does: end if it fits on the screen, show colours, leave the text on the screen.
        if env::var_os("LESS").is_none() {
            command.env("LESS", "FRX");
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                if error.kind() != ErrorKind::NotFound || program != DEFAULT {
                    debug!(program, %error, "the pager cannot be started");
                }
                return None;
            }
        };
        let input = child.stdin.take()?;
        Some((Pager { child }, input))
    }

    /// Waits until the reader has ended it. Its input must be closed.
    pub(super) fn wait(mut self) {
        if let Err(error) = self.child.wait() {
            debug!(%error, "the pager is not waited for");
        }
    }
}

/// The program and its arguments; none if the first variable that is set is empty or `cat`.
fn command(asof_pager: Option<String>, pager: Option<String>) -> Option<Vec<String>> {
    let line = asof_pager.or(pager).unwrap_or_else(|| DEFAULT.to_owned());
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    (!words.is_empty() && words != ["cat"]).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pager_of_asof_comes_before_that_of_all_programs() {
        let named = |asof: Option<&str>, all: Option<&str>| {
            command(asof.map(str::to_owned), all.map(str::to_owned)).map(|words| words.join(" "))
        };
        assert_eq!(named(None, None).as_deref(), Some("less"));
        assert_eq!(named(None, Some("more")).as_deref(), Some("more"));
        assert_eq!(
            named(Some("less  -S"), Some("more")).as_deref(),
            Some("less -S")
        );
        for none in ["", " ", "cat"] {
            assert_eq!(named(Some(none), Some("more")), None);
            assert_eq!(named(None, Some(none)), None);
        }
    }
}
