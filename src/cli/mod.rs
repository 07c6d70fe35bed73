//! The only part that prints, reads the environment, or knows the command line.

pub mod args;
mod bars;
mod demo;
mod log;
mod metrics;
mod pager;
mod printer;
mod render;
mod run;
mod setup;
mod signals;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{CommandFactory, FromArgMatches};

use self::args::{Cli, Command, Global, LogFormat};
use self::metrics::{RunMetrics, TablesOf};
use self::printer::Printer;
use crate::commands::Progress;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::secret::concealed;

/// Runs the program on this process's arguments, and returns its exit code.
pub fn main() -> u8 {
    program(std::env::args_os())
}

/// Runs the program on arguments, the first of which is its own name, and returns its exit code.
pub fn program(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    crate::storage::parquet::untrusted::silence_decoders();
    let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    run(arguments, &folder)
}

/// The command line. The help of `asof` describes the global options; that of a command only names
/// them.
pub fn command_line() -> clap::Command {
    let mut command = Cli::command();
    // So that every command has the global options, which can then be hidden there.
    command.build();
    let names: Vec<String> = command
        .get_subcommands()
        .map(|subcommand| subcommand.get_name().to_owned())
        .collect();
    for name in names {
        command = command.mut_subcommand(name, |subcommand| {
            if subcommand.get_name() == "help" {
                return subcommand;
            }
            subcommand
                .mut_args(|argument| {
                    let is_global = argument.is_global_set();
                    argument.hide(is_global)
                })
                .after_help("Global options, such as --lake, --json and -v: asof --help")
        });
    }
    command
}

/// Runs the program on arguments, the first of which is its own name, in a folder.
pub fn run(arguments: impl IntoIterator<Item = OsString>, folder: &Path) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let asked = asked(&arguments);
    let parsed = command_line()
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return misused(&error, &asked),
    };
    let printer = Arc::new(Printer::new(&cli.global));
    signals::listen(&printer);
    let json = cli.global.json;
    let metrics = RunMetrics::of(&cli, folder);
    let started = printer.start_log(&cli.global);
    let ended = started.and_then(|()| dispatch(cli, folder, &printer, &metrics));
    interrupt::wait_if_stopping();
    let code = match ended {
        Ok(code) => code,
        Err(error) => {
            printer.error(&error);
            if json {
                let _ = failure(&printer, &error);
            }
            error.kind().exit_code()
        }
    };
    metrics.write(code, &printer);
    code
}

/// The options that say how to print, of arguments that may not be valid.
fn asked(arguments: &[OsString]) -> Global {
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let logs_json = has("--log-format=json")
        || arguments
            .windows(2)
            .any(|pair| pair[0] == "--log-format" && pair[1] == "json")
        || std::env::var_os("ASOF_LOG_FORMAT").is_some_and(|format| format == "json");
    Global {
        json: has("--json"),
        log_format: if logs_json {
            LogFormat::Json
        } else {
            LogFormat::Text
        },
        ..Global::default()
    }
}

/// Prints what clap has to say: the help that was asked for, or what is wrong with the arguments.
fn misused(error: &clap::Error, asked: &Global) -> u8 {
    if !error.use_stderr() {
        let _ = error.print();
        return 0;
    }
    let text = error.to_string();
    let message = text
        .split("\n\n")
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ");
    let usage = Error::usage(message);
    let printer = Printer::new(asked);
    let logs_json = asked.log_format == LogFormat::Json && printer.start_log(asked).is_ok();
    // An argument that is a secret is not quoted.
    if logs_json || concealed(&text) != text {
        printer.error(&usage);
    } else {
        let _ = error.print();
    }
    if asked.json {
        let _ = failure(&printer, &usage);
    }
    usage.kind().exit_code()
}

/// Prints a failure as the one JSON document.
fn failure(printer: &Printer, error: &Error) -> Result<()> {
    printer.document(&serde_json::json!({ "error": error }))
}

/// Prints the manual page, or writes one for each command into a folder.
fn manual(folder: Option<&Path>, printer: &Printer) -> Result<()> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command_line())
            .render(&mut page)
            .map_err(|error| Error::io(format!("cannot write the manual: {error}")))?;
        return printer.bytes(&page);
    };
    let failed = |error| Error::io(format!("cannot write to {}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    // `asof help show` shows what `asof show --help` does: it needs no page.
    clap_mangen::generate_to(command_line().disable_help_subcommand(true), folder).map_err(failed)
}

fn dispatch(cli: Cli, folder: &Path, printer: &Printer, metrics: &RunMetrics) -> Result<u8> {
    match cli.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command_line(), "asof", &mut script);
            printer.bytes(&script)?;
            Ok(0)
        }
        Command::Man { out } => {
            manual(out.map(|out| folder.join(out)).as_deref(), printer)?;
            Ok(0)
        }
        Command::Demo(args) => demo::demo(&args.dir, folder, &cli.global, printer),
        command => {
            let mut workspace = setup::workspace(&cli.global, folder, printer)?;
            workspace.declared = setup::declared(&command)?;
            // Its report has them.
            let is_check = matches!(command, Command::Check(_));
            let tables = TablesOf::of(&command);
            let code = run::carry_out(command, &workspace, printer, metrics);
            metrics.look(&workspace, &tables);
            if !is_check {
                workspace
                    .observations()
                    .iter()
                    .for_each(|note| printer.note(note));
            }
            printer.requests();
            printer.phases();
            code
        }
    }
}
