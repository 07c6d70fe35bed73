//! Long results in a pager, on a terminal that Python's `pty` makes.

use std::process::Output;

use super::environment::{ASOF, World, text};

/// Runs a command whose standard output is a terminal.
fn on_terminal(world: &World, line: &str) -> Output {
    let python = std::env::var("ASOF_TEST_PYTHON")
        .unwrap_or_else(|_| panic!("ASOF_TEST_PYTHON is not set: run the tests with tests/run"));
    let script =
        "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let mut arguments = vec!["-c".to_owned(), script.to_owned(), ASOF.to_owned()];
    arguments.extend(line.split(' ').map(str::to_owned));
    world
        .prepared(&python, &arguments)
        .output()
        .expect("python starts")
}

#[test]
fn long_results_go_to_the_pager_of_the_environment() {
    let mut world = World::shop(3);
    assert_eq!(world.quietly("compact").status.code(), Some(0));
    world.variable("TERM", "xterm");
    world.variable("PAGER", "false");
    world.variable("ASOF_PAGER", "tee paged.txt");
    for (line, what) in [
        ("history item 2", "first seen"),
        ("diff item 2024-03-01 2024-03-02", "changed columns"),
        ("show item", "Washer"),
    ] {
        let output = on_terminal(&world, line);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{line}: {}",
            text(&output.stderr)
        );
        let paged = text(&world.bytes("paged.txt"));
        assert!(paged.contains(what), "{line}: {paged}");
        assert!(paged.contains("\u{1b}["), "{line} has no colours: {paged}");
        assert!(
            text(&output.stdout).contains(what),
            "the pager writes to the terminal"
        );
        std::fs::remove_file(world.path("paged.txt")).expect("removed");
    }
    for line in [
        "--no-pager history item 2",
        "--json history item 2",
        "status item",
    ] {
        let output = on_terminal(&world, line);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{line}: {}",
            text(&output.stderr)
        );
        assert!(!world.path("paged.txt").exists(), "{line} was paged");
    }
    for none in ["", "cat", "no-such-pager"] {
        world.variable("ASOF_PAGER", none);
        let output = on_terminal(&world, "history item 2");
        assert!(
            text(&output.stdout).contains("first seen"),
            "with ASOF_PAGER='{none}'"
        );
    }
    // What is not a terminal is never paged.
    world.variable("ASOF_PAGER", "tee paged.txt");
    assert_eq!(world.quietly("history item 2").status.code(), Some(0));
    assert!(!world.path("paged.txt").exists());
}
