//! `packaging/pack`: what it makes of a program installs, runs and is the same each time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::journeys::environment::ASOF;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    said
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The program without its debug information, which is most of a development build.
fn stripped(folder: &Path) -> PathBuf {
    let program = folder.join("asof");
    run("strip", &["-o", text(&program), ASOF]);
    program
}

fn pack(program: &Path, out: &Path) -> Vec<PathBuf> {
    let target = concat!("x86_64", "-unknown-linux-gnu");
    let arguments = [text(program), "--target", target, "--out", text(out)];
    let said = run(&format!("{ROOT}/packaging/pack"), &arguments);
    said.lines().map(PathBuf::from).collect()
}

#[test]
fn archive_package_and_image_hold_the_program_with_its_manual_and_completions() {
    let folder = tempfile::tempdir().unwrap();
    let program = stripped(folder.path());
    let out = folder.path().join("dist");
    let made = pack(&program, &out);
    let again = pack(&program, &folder.path().join("again"));
    assert_eq!(made.len(), again.len());
    for (one, other) in made.iter().zip(&again) {
        assert!(
            fs::read(one).unwrap() == fs::read(other).unwrap(),
            "{one:?}"
        );
    }
    run(
        "sh",
        &[
            "-c",
            &format!("cd {} && sha256sum -c SHA256SUMS", text(&out)),
        ],
    );

    let version = env!("CARGO_PKG_VERSION");
    let unpacked = folder.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    run("tar", &["-xzf", text(&made[0]), "-C", text(&unpacked)]);
    let top = unpacked.join(format!("asof-{version}-x86_64-unknown-linux-gnu"));
    holds_what_is_shipped(&top, "");

    let fields = run("dpkg-deb", &["--field", text(&made[1])]);
    assert!(fields.contains("Package: asof\n"), "{fields}");
    assert!(
        fields.contains(&format!("Version: {version}\n")),
        "{fields}"
    );
    let installed = folder.path().join("installed");
    run("dpkg-deb", &["--extract", text(&made[1]), text(&installed)]);
    holds_what_is_shipped(&installed.join("usr"), ".gz");

    let image = out.join("image/usr/bin/asof");
    assert_eq!(
        run(text(&image), &["--version"]),
        format!("asof {version}\n")
    );
    assert!(out.join("image/tmp").is_dir());
}

/// Checks a folder like `/usr`, whose manual pages have the ending `compressed`.
fn holds_what_is_shipped(usr: &Path, compressed: &str) {
    let program = usr.join("bin/asof");
    let version = run(text(&program), &["--version"]);
    assert_eq!(version, format!("asof {}\n", env!("CARGO_PKG_VERSION")));
    for path in [
        "share/bash-completion/completions/asof",
        "share/zsh/vendor-completions/_asof",
        "share/fish/vendor_completions.d/asof.fish",
        "share/doc/asof/README.md",
        "share/doc/asof/LICENSE-MIT",
        "share/doc/asof/LICENSE-APACHE",
    ] {
        assert!(fs::metadata(usr.join(path)).unwrap().len() > 0, "{path}");
    }
    let help = run(text(&program), &["--help"]);
    let commands = help.split("Commands:\n").nth(1).unwrap();
    let commands = commands.split("\n\n").next().unwrap().lines();
    let names = commands.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    let names: Vec<_> = names.filter(|name| *name != "help").collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        let page = usr.join(format!("share/man/man1/asof-{name}.1{compressed}"));
        assert!(page.is_file(), "{page:?}");
    }
    assert!(
        usr.join(format!("share/man/man1/asof.1{compressed}"))
            .is_file()
    );
}
