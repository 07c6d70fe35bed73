//! Programs of users' own, run for a date.
//!
//! A program runs in a process group of its own. When it has ended, however that was, whatever it
//! left running in the group is killed: nothing can write to its output any more when that is read.
//! A program that takes longer than its timeout is asked to end (SIGTERM), and killed five seconds
//! later. If asof itself is interrupted, so are the programs ([`crate::interrupt`]).
//!
//! Memory: the last 16 KiB of what each program prints.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use crate::error::{Context, Error, Result, shorten, word};
use crate::interrupt::{self, GRACE, RunningProgram};
use crate::model::{in_largest_unit, parse_duration};

/// How much of what a program prints is kept.
const KEPT: usize = 16 << 10;

/// A program with its arguments.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// The folder that it runs in.
    pub folder: PathBuf,
    /// The longest that it may run.
    pub timeout: Option<Duration>,
    /// What it reads on its standard input; nothing if `None`.
    pub input: Option<Vec<u8>>,
}

/// A program that did not succeed.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: Error,
    /// Whether it exceeded its timeout.
    pub timed_out: bool,
    /// The last lines that it printed.
    pub printed: Vec<String>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed {
            error,
            timed_out: false,
            printed: Vec::new(),
        }
    }
}

impl Program {
    /// The command as an error shows it.
    pub fn shown(&self) -> String {
        shorten(
            &self
                .arguments
                .iter()
                .map(|argument| word(argument))
                .collect::<Vec<_>>()
                .join(" "),
        )
    }

    /// Runs the program with variables beside those of asof's own environment.
    ///
    /// # Errors
    /// A usage error if the program cannot be found; a failure if it exits with another code than
    /// 0, is killed by a signal or exceeds its timeout.
    pub fn run(&self, variables: &[(String, OsString)]) -> Result<(), Failed> {
        let mut child = self.start(variables)?;
        let process = i32::try_from(child.id()).unwrap_or_default();
        let program = RunningProgram::of(process);
        give(child.stdin.take(), self.input.clone())?;
        let stdout = Tail::of(child.stdout.take());
        let stderr = Tail::of(child.stderr.take());
        let ended = end_of(process)?;
        let in_time = match self.timeout {
            Some(timeout) => ended.recv_timeout(timeout).is_ok(),
            None => ended.recv().is_ok(),
        };
        if !in_time {
            program.signal(Signal::TERM);
            if ended.recv_timeout(GRACE).is_err() {
                program.signal(Signal::KILL);
                let _ = ended.recv();
            }
        }
        // The process is not reaped yet, so the group is still its own.
        program.signal(Signal::KILL);
        let status = child
            .wait()
            .io_context(|| format!("cannot wait for the command '{}'", self.shown()));
        drop(program);
        // What became of the date is not told.
        interrupt::wait_if_stopping();
        let status = status?;
        if in_time && status.success() {
            return Ok(());
        }
        let printed = Some(stderr.lines())
            .filter(|lines| !lines.is_empty())
            .unwrap_or_else(|| stdout.lines());
        let last = printed
            .last()
            .map_or_else(String::new, |line| format!(": {}", shorten(line)));
        let error = match self.timeout.filter(|_| !in_time) {
            Some(timeout) => Error::io(format!(
                "the command '{}' did not end within {}{last}",
                self.shown(),
                in_largest_unit(timeout)
            )),
            None => Error::io(format!(
                "the command '{}' {}{last}",
                self.shown(),
                ending(status)
            )),
        };
        Err(Failed {
            error,
            timed_out: !in_time,
            printed,
        })
    }

    fn start(&self, variables: &[(String, OsString)]) -> Result<Child> {
        let name = self
            .arguments
            .first()
            .map(String::as_str)
            .unwrap_or_default();
        // A path is one from the program's folder; a name is looked for in PATH.
        let program = if name.contains('/') {
            self.folder.join(name)
        } else {
            PathBuf::from(name)
        };
        let mut command = Command::new(program);
        command
            .args(self.arguments.iter().skip(1))
            .current_dir(&self.folder)
            .process_group(0);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let stdin = match self.input {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        };
        command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::usage(format!(
                "there is no program '{name}' \
                 to run"
            ))
            .hint(
                "a program is looked up in PATH, or, if its name has a '/', from the \
                 folder of asof.toml",
            ),
            std::io::ErrorKind::PermissionDenied => {
                Error::usage(format!("the program '{name}' cannot be run: {error}"))
                    .hint(format!("chmod +x {}", word(name)))
            }
            _ => Error::io(format!("the program '{name}' cannot be run: {error}")),
        })
    }
}

/// Writes what a program reads, in a thread of its own. A program that does not read it is no
/// failure.
fn give(stdin: Option<ChildStdin>, input: Option<Vec<u8>>) -> Result<()> {
    if let (Some(mut stdin), Some(input)) = (stdin, input) {
        let write = move || {
            let _ = stdin.write_all(&input);
        };
        thread::Builder::new()
            .spawn(write)
            .io_context(|| "cannot write to the command".into())?;
    }
    Ok(())
}

/// Told when a process has ended, which is left to be reaped.
fn end_of(process: i32) -> Result<Receiver<()>> {
    let (tell, told) = channel();
    let wait = move || {
        if let Some(process) = Pid::from_raw(process) {
            let _ = rustix::io::retry_on_intr(|| {
                waitid(
                    WaitId::Pid(process),
                    WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
                )
            });
        }
        let _ = tell.send(());
    };
    thread::Builder::new()
        .spawn(wait)
        .io_context(|| "cannot wait for the command".into())?;
    Ok(told)
}

/// How a process ended, in words.
fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => match signal_hook::low_level::signal_name(signal) {
            Some(name) => format!("was killed by {name}"),
            None => format!("was killed by signal {signal}"),
        },
        (None, None) => "did not succeed".to_owned(),
    }
}

/// Reads how long a program may run, such as `10m`.
///
/// # Errors
/// A usage error for text that is not a duration, and for none at all.
pub fn parse_timeout(text: &str) -> Result<Duration> {
    let timeout = parse_duration(text)?;
    match timeout.is_zero() {
        true => Err(Error::usage(format!("'{text}' leaves the program no time"))
            .hint("\"90s\", \"10m\", \"2h\" or \"1d\"")),
        false => Ok(timeout),
    }
}

/// The last of what a program prints.
struct Tail {
    kept: Arc<Mutex<VecDeque<u8>>>,
    done: Receiver<()>,
}

impl Tail {
    fn of(stream: Option<impl Read + Send + 'static>) -> Self {
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let (tell, done) = channel();
        let into = kept.clone();
        let read = move || {
            let mut stream = stream;
            let mut buffer = [0; 4096];
            while let Some(stream) = stream.as_mut()
                && let Ok(length @ 1..) = stream.read(&mut buffer)
            {
                let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&buffer[..length]);
                let surplus = kept.len().saturating_sub(KEPT);
                kept.drain(..surplus);
            }
            let _ = tell.send(());
        };
        let _ = thread::Builder::new().spawn(read);
        Tail { kept, done }
    }

    /// The last lines, without empty ones. A process that left the group may hold the stream open:
    /// it is not waited for.
    fn lines(&self) -> Vec<String> {
        let _ = self.done.recv_timeout(Duration::from_secs(1));
        let kept: Vec<u8> = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .copied()
            .collect();
        let text = String::from_utf8_lossy(&kept).into_owned();
        let lines: Vec<String> = text
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.trim().is_empty())
            .map(str::to_owned)
            .collect();
        lines[lines.len().saturating_sub(20)..].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn shell(script: &str, timeout: Option<u64>) -> Result<(), Failed> {
        let folder = tempfile::tempdir().expect("a folder");
        let arguments = ["sh", "-c", script].map(str::to_owned).to_vec();
        let program = Program {
            arguments,
            folder: folder.path().to_owned(),
            timeout: timeout.map(Duration::from_secs),
            input: None,
        };
        program.run(&[("ASOF_DATE".into(), "2024-01-31".into())])
    }

    #[test]
    fn a_program_says_why_it_failed() {
        assert!(shell("test $ASOF_DATE = 2024-01-31", None).is_ok());
        let failed = |script: &str| shell(script, None).expect_err(script);
        let bad = failed("echo on its way; echo one >&2; echo 'bad value' >&2; exit 3");
        assert_eq!(bad.printed, ["one", "bad value"]);
        assert!(
            bad.error
                .to_string()
                .ends_with("ended with exit code 3: bad value"),
            "{}",
            bad.error
        );
        assert_eq!(bad.error.kind(), Kind::Io);
        assert!(
            failed("kill -9 $$")
                .error
                .to_string()
                .ends_with("was killed by SIGKILL")
        );
        assert!(
            failed("echo only here; exit 1")
                .error
                .to_string()
                .ends_with("exit code 1: only here")
        );
        let long = failed("yes 'a line' | head -n 100000 >&2; exit 1");
        assert_eq!(long.printed, vec!["a line"; 20]);
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("late");
        let script = format!("(sleep 2; echo late > '{0}') & sleep 60", file.display());
        let failed = shell(&script, Some(1)).expect_err("it hangs");
        assert!(
            failed.error.to_string().contains("did not end within 1s"),
            "{}",
            failed.error
        );
        // One that leaves something running and succeeds.
        assert!(
            shell(
                &format!(
                    "(sleep 1; echo late > '{}') >/dev/null 2>&1 &",
                    file.display()
                ),
                None
            )
            .is_ok()
        );
        thread::sleep(Duration::from_millis(2500));
        assert!(!file.exists(), "what it started went on");
    }

    #[test]
    fn a_program_may_read_its_input_or_not() {
        let input = vec![b'x'; 1 << 20];
        let program = |script: &str| Program {
            arguments: ["sh", "-c", script].map(str::to_owned).to_vec(),
            folder: std::env::temp_dir(),
            timeout: Some(Duration::from_secs(10)),
            input: Some(input.clone()),
        };
        let reads = program("test $(wc -c) -eq 1048576").run(&[]);
        assert!(reads.is_ok(), "{reads:?}");
        assert!(program("true").run(&[]).is_ok());
    }

    #[test]
    fn a_program_that_is_not_there_is_a_mistake_of_the_job() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = |name: &str| {
            let program = Program {
                arguments: vec![name.to_owned()],
                folder: folder.path().to_owned(),
                timeout: None,
                input: None,
            };
            program.run(&[]).expect_err(name).error
        };
        assert_eq!(run("no-such-program").kind(), Kind::Usage);
        std::fs::write(folder.path().join("etl.sh"), "true").expect("written");
        assert_eq!(
            (run("./etl.sh").kind(), run("./etl.sh").hints()[0].as_str()),
            (Kind::Usage, "chmod +x ./etl.sh")
        );
    }
}
