//! What docs/architecture.md promises about the structure of the code: imports point down, modules
//! of one layer do not import each other in a circle, no two types have one name, and no file is
//! too long to be read in one go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the bottom up. A file imports from its own layer and from those below it.
const LAYERS: [&[&str]; 8] = [
    &["did_you_mean", "error", "memory", "model", "secret"],
    &["domain"],
    &["clock", "frames", "interrupt", "parallel", "phases"],
    &["storage"],
    &["source"],
    &["engine"],
    &["config", "commands"],
    &["cli", "lib", "library", "main"],
];

/// How many lines a file may have, its tests left out.
const LONGEST: usize = 600;

/// A file under `src` without its tests and comments.
struct Source {
    /// Its path below `src`, such as `engine/dated/column.rs`.
    path: String,
    /// Its code.
    code: String,
    /// How many lines it has, comments included and tests left out.
    lines: usize,
}

impl Source {
    /// The module of the crate's root that it belongs to, such as `engine`.
    fn layer(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// The module of its layer that it belongs to, such as `engine::dated`.
    fn component(&self) -> Option<String> {
        let mut parts = self.path.strip_suffix(".rs").unwrap().split('/');
        let layer = parts.next()?;
        let module = parts.next().filter(|name| *name != "mod")?;
        Some(format!("{layer}::{module}"))
    }

    /// Each path of this crate that it names, from the root, with groups spelt out:
    /// `crate::a::{b, c}` is two, and `super::b` in `a/d.rs` is `crate::a::b`.
    fn imports(&self) -> BTreeSet<String> {
        let module = self.path.strip_suffix(".rs").unwrap();
        let module = module.strip_suffix("/mod").unwrap_or(module);
        let parent = module.rsplit_once('/').map_or("", |(parent, _)| parent);
        let parent = format!("crate::{}::", parent.replace('/', "::")).replace("::::", "::");
        let mut found = BTreeSet::new();
        for (root, prefix) in [("crate::", "crate::"), ("super::", parent.as_str())] {
            for (at, _) in self.code.match_indices(root) {
                let before = self.code[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                    continue;
                }
                let mut text = &self.code[at + root.len()..];
                // Of an item of the root or of a grandparent, which nothing here needs.
                if !text.starts_with("super::") {
                    found.extend(paths(&mut text, prefix));
                }
            }
        }
        found
    }
}

/// The paths that a use tree at the beginning of the text stands for; the text moves behind it.
fn paths(text: &mut &str, prefix: &str) -> Vec<String> {
    let name_ends = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(text.len());
    let path = format!("{prefix}{}", &text[..name_ends]);
    *text = &text[name_ends..];
    if !(path.ends_with("::") && text.starts_with('{')) {
        return vec![path];
    }
    let mut all = Vec::new();
    while !text.starts_with('}') {
        *text = text[1..].trim_start();
        if !text.starts_with('}') {
            all.extend(paths(text, &path));
            *text = text.trim_start();
            // A name that is imported as another.
            if let Some(renamed) = text.strip_prefix("as ") {
                *text = renamed.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
                *text = text.trim_start();
            }
        }
    }
    *text = &text[1..];
    all
}

/// Each file under `src` that is not a test.
fn sources() -> Vec<Source> {
    sources_below("src")
}

fn sources_below(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let (mut folders, mut files) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let is_test = |path: &str| {
        path.ends_with("tests.rs") || path.ends_with("testing.rs") || path.contains("/tests")
    };
    files
        .into_iter()
        .map(|file| {
            let path = file
                .strip_prefix(&root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let text = fs::read_to_string(&file).unwrap();
            // Tests stand at the end of a file.
            let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
            let text = &text[..tests];
            let code = text.lines().map(|line| line.split("//").next().unwrap());
            Source {
                path,
                code: code.collect::<Vec<_>>().join("\n"),
                lines: text.lines().count(),
            }
        })
        .filter(|source| !is_test(&source.path))
        .collect()
}

fn rank(layer: &str) -> usize {
    LAYERS
        .iter()
        .position(|modules| modules.contains(&layer))
        .unwrap_or_else(|| panic!("'{layer}' is in no layer: add it to LAYERS"))
}

#[test]
fn imports_point_down() {
    let mut upward = Vec::new();
    let mut count = 0;
    for source in sources() {
        for import in source.imports() {
            count += 1;
            let layer = import.split("::").nth(1).unwrap();
            if rank(layer) > rank(source.layer()) {
                upward.push(format!("{} imports {import}", source.path));
            }
        }
    }
    assert!(count > 500, "only {count} imports were found");
    assert_eq!(upward, Vec::<String>::new());
}

#[test]
fn modules_of_a_layer_do_not_import_each_other_in_a_circle() {
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        let Some(from) = source.component() else {
            continue;
        };
        for import in source.imports() {
            let parts: Vec<&str> = import.split("::").collect();
            if parts.len() > 2 && parts[1] == source.layer() {
                let to = format!("{}::{}", parts[1], parts[2]);
                imports.entry(from.clone()).or_default().insert(to);
            }
        }
    }
    assert!(imports.len() > 30, "only {} modules import", imports.len());
    // Circles remain once the modules that import none of the others, or that none of the others
    // imports, are taken away again and again.
    loop {
        let importing: BTreeSet<String> = imports.keys().cloned().collect();
        for (from, to) in &mut imports {
            to.retain(|to| to != from && importing.contains(to));
        }
        let imported: BTreeSet<String> = imports.values().flatten().cloned().collect();
        imports.retain(|from, to| !to.is_empty() && imported.contains(from));
        if imports.len() == importing.len() {
            break;
        }
    }
    assert_eq!(imports, BTreeMap::new());
}

#[test]
fn no_file_is_too_long_to_be_read_in_one_go() {
    let all = sources().into_iter().chain(sources_below("python/src"));
    let long: Vec<String> = all
        .filter(|source| source.lines > LONGEST)
        .map(|source| format!("{} has {} lines", source.path, source.lines))
        .collect();
    assert_eq!(long, Vec::<String>::new());
}

#[test]
fn one_file_of_each_package_holds_all_unsafe_code() {
    let holds = |source: &Source| {
        let words = [
            "unsafe {",
            "unsafe fn",
            "unsafe impl",
            "unsafe trait",
            "unsafe extern",
        ];
        let is_allowed = source.code.contains("allow(") && source.code.contains("unsafe_code,");
        is_allowed || words.iter().any(|word| source.code.contains(word))
    };
    for (folder, file) in [("src", "frames/bridge.rs"), ("python/src", "capsule.rs")] {
        let holding = sources_below(folder).into_iter().filter(holds);
        let holding: Vec<String> = holding.map(|source| source.path).collect();
        assert_eq!(holding, [file], "{folder}");
    }
}

#[test]
fn no_two_types_have_one_name() {
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        for line in source.code.lines() {
            let words: Vec<&str> = line
                .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .filter(|word| !word.is_empty())
                .collect();
            let is_indented = line.starts_with(' ');
            let at = words.iter().position(|word| {
                ["struct", "enum", "trait"].contains(word) || *word == "type" && !is_indented
            });
            let name = at.and_then(|at| words.get(at + 1));
            if let Some(name) = name.filter(|name| name.starts_with(char::is_uppercase)) {
                let files = files.entry((*name).to_owned()).or_default();
                files.push(source.path.clone());
            }
        }
    }
    assert!(files.len() > 300, "only {} types were found", files.len());
    files.retain(|_, files| files.len() > 1);
    assert_eq!(files, BTreeMap::new());
}

#[test]
fn use_trees_are_spelt_out() {
    let code =
        "use crate::a::{B, c::{D, E as F}, g};\nlet x = crate::h::I::new(); mycrate::j; super::K";
    let source = Source {
        path: "a/b.rs".to_owned(),
        code: code.to_owned(),
        lines: 2,
    };
    let found: Vec<String> = source.imports().into_iter().collect();
    assert_eq!(
        found,
        [
            "crate::a::B",
            "crate::a::K",
            "crate::a::c::D",
            "crate::a::c::E",
            "crate::a::g",
            "crate::h::I::new"
        ]
    );
}
