//! docs/cli.md is what the program says of itself, so it cannot drift: this test makes it and
//! compares.

const HEADER: &str = "\
# Command line

<!-- Made by tests/cli_reference.rs from the program's own help: ASOF_UPDATE_DOCS=1 tests/run \
--test journeys -- cli_reference -->

Results go to standard output; progress, notes and errors to standard error. Dates are \
`YYYY-MM-DD`, `today`,
`yesterday`, `7d` for seven days ago or, as one date or the end of a range, `latest`; `--from` and `--to`
are both included. Every write has `--dry-run`.

| exit code | meaning | a scheduler should |
| --- | --- | --- |
| 0 | done, or nothing to do | go on |
| 1 | reading or writing failed | retry |
| 2 | wrong usage or configuration | fail |
| 3 | data refused: bad keys, guard, gap, schema, verification | alert |
| 4 | conflict: another writer published first | retry |
| 5 | some dates or tables failed; the others are published | retry: only the failed ones run again |
| 6 | `asof status --exit-code`: something is out of date | your choice |
| 70 | a bug in asof | fail, and report it |
| 129, 130, 143 | interrupted by SIGHUP, SIGINT or SIGTERM | run again |
";

fn reference() -> String {
    let mut command = asof::cli::command_line()
        .term_width(100)
        .mut_args(|argument| argument.hide_env_values(true));
    let mut text = format!(
        "{HEADER}\n## asof\n\n{}",
        block(&command.render_long_help().to_string())
    );
    for subcommand in command
        .get_subcommands_mut()
        .filter(|subcommand| subcommand.get_name() != "help")
    {
        let help = subcommand.render_long_help().to_string();
        text.push_str(&format!(
            "\n## asof {}\n\n{}",
            subcommand.get_name(),
            block(&help)
        ));
    }
    text
}

fn block(help: &str) -> String {
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    format!("```text\n{}\n```\n", lines.join("\n"))
}

#[test]
fn the_reference_is_what_the_program_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md");
    let made = reference();
    if std::env::var_os("ASOF_UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).expect("docs/");
        std::fs::write(path, &made).expect("docs/cli.md is written");
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    let differs = made
        .lines()
        .zip(stored.lines())
        .find(|(made, stored)| made != stored);
    assert!(
        made == stored,
        "docs/cli.md is not what the program says; run with ASOF_UPDATE_DOCS=1. First difference: \
         {differs:?}"
    );
}
