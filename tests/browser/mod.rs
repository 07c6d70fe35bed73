//! The page of `asof report` in headless Chromium: it renders, its tooltips and tables have the
//! numbers of the document, and it asks the network for nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::journeys::environment::{World, text};

fn variable(name: &str) -> PathBuf {
    std::env::var_os(name)
        .unwrap_or_else(|| panic!("{name} is not set: run the tests with tests/run"))
        .into()
}

/// Opens a page, and fails with what is wrong with it.
fn check(world: &World, page: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/check.cjs");
    let output = Command::new("node")
        .arg(script)
        .arg(world.path(page))
        .env("ASOF_TEST_BROWSER", variable("ASOF_TEST_BROWSER"))
        .env("ASOF_TEST_CHROMIUM", variable("ASOF_TEST_CHROMIUM"))
        .output()
        .expect("node starts");
    let printed = text(&output.stdout);
    assert!(
        output.status.success(),
        "{printed}\n{}",
        text(&output.stderr)
    );
    assert_eq!(printed.trim(), "[]", "{}", text(&output.stderr));
}

#[test]
#[cfg(feature = "sql")]
fn the_page_of_the_demo_works_in_a_browser() {
    let mut world = World::new();
    world.at("2026-11-20");
    assert_eq!(world.quietly("demo airports").status.code(), Some(0));
    let made = world.quietly("--config airports/asof.toml report --out page.html");
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    check(&world, "page.html");
}

#[test]
fn names_that_are_scripts_are_shown_and_not_run() {
    let name = "</script><script>injected=1</script><img src=x onerror=injected=2>";
    let mut world = World::new();
    world.write("asof.toml", "lake = 'lake'\n[tables.item]\nsource = 'item.csv'\nkey = ['id']\n[tables.other]\nsource = 'item.csv'\nkey = ['id']\n");
    for night in 1..=3 {
        world.at(&format!("2024-03-0{night}"));
        world.write("item.csv", format!("id,{name}\n{name},{night}\nb,1\n"));
        assert_eq!(world.quietly("snapshot").status.code(), Some(0));
    }
    assert_eq!(world.quietly("compact").status.code(), Some(0));
    let made = world.quietly("report --out page.html");
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let page = text(&world.bytes("page.html"));
    assert!(!page.contains("<img src=x") && !page.contains("<script>injected"));
    assert!(page.contains("&lt;img src=x"));
    check(&world, "page.html");
}

#[test]
fn the_library_of_the_page_is_what_its_packages_give() {
    let packages = variable("ASOF_TEST_BROWSER");
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/render/report/assets/echarts");
    let package = include_str!("package.json");
    let package: serde_json::Value = serde_json::from_str(package).expect("JSON");
    let script = package["scripts"]["charts"].as_str().expect("a script");
    let options = script
        .split(' ')
        .filter(|word| word.starts_with("--") && !word.starts_with("--outfile"));
    let output = Command::new(packages.join("node_modules/.bin/esbuild"))
        .arg(assets.join("entry.js"))
        .args(options)
        .env("NODE_PATH", packages.join("node_modules"))
        .output()
        .expect("esbuild starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let committed = std::fs::read(assets.join("echarts.min.js")).expect("the library");
    assert!(
        output.stdout == committed,
        "build it anew: {}",
        assets.join("README.md").display()
    );
}
