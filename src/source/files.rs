//! The files that a source names: a path, a glob or a folder, on a disk or in a store; and standard
//! input, set aside.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use tempfile::{NamedTempFile, TempPath};

use crate::did_you_mean::nearest;
use crate::domain::file_names::is_data;
use crate::error::{Context, Error, Result};
use crate::interrupt::{Temporary, temporary};
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::partitions::{local_object, local_objects_below};
use crate::storage::lake::table_format::refuse_tables;

/// The files that a path or a glob names, sorted. A folder stands for the data files in it and in
/// its folders.
///
/// # Errors
/// A failure if there are none: a nightly source may not have come yet. A refusal for a folder that
/// is a table of another format.
pub fn files_of(pattern: &Location) -> Result<Vec<Object>> {
    let mut files = match pattern.as_local() {
        Some(path) => local_files_of(path)?,
        None => pattern.objects_like()?,
    };
    let text = pattern.to_string();
    let above = text
        .find(['*', '?', '['])
        .map_or(text.as_str(), |wildcard| {
            &text[..text[..wildcard].rfind('/').map_or(0, |at| at + 1)]
        });
    files.retain(|object| {
        let name = object.location.to_string();
        name.strip_prefix(above)
            .unwrap_or(&name)
            .split('/')
            .all(is_data)
            && is_data(&object.location.name())
    });
    if files.is_empty() {
        let text = if pattern.is_folder()? {
            format!("{pattern}/*")
        } else {
            pattern.to_string()
        };
        let error = Error::io(format!("no file matches '{text}'"));
        return Err(match pattern.as_local().and_then(near_file) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error,
        });
    }
    files.sort_by(|one, other| one.relative.cmp(&other.relative));
    Ok(files)
}

/// The file of the same folder that a path was meant to name. A file whose name differs only in
/// digits is that of another day.
fn near_file(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let siblings: Vec<String> = std::fs::read_dir(path.parent()?)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let without_digits = |name: &str| name.replace(|c: char| c.is_ascii_digit(), "");
    let near = nearest(name, siblings.iter().map(String::as_str))?;
    (without_digits(near) != without_digits(name))
        .then(|| path.with_file_name(near).display().to_string())
}

fn local_files_of(pattern: &Path) -> Result<Vec<Object>> {
    let mut known = BTreeSet::new();
    if pattern.is_dir() {
        refuse_tables(pattern, &mut known)?;
        return local_objects_below(pattern);
    }
    let text = pattern.to_string_lossy();
    let Some(wildcard) = text.find(['*', '?', '[']).filter(|_| !pattern.exists()) else {
        return if pattern.is_file() {
            Ok(vec![local_object(pattern)?])
        } else {
            Ok(Vec::new())
        };
    };
    let above = Path::new(&text[..text[..wildcard].rfind('/').map_or(0, |at| at + 1)]);
    let paths = glob::glob(&text)
        .map_err(|error| Error::usage(format!("'{text}' is not a pattern of files: {error}")))?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.io_context(|| format!("cannot list '{text}'"))?;
        if path.is_file() {
            refuse_tables(path.parent().unwrap_or(&path), &mut known)?;
            let below = path
                .strip_prefix(above)
                .unwrap_or(&path)
                .display()
                .to_string();
            files.push(Object {
                below,
                ..local_object(&path)?
            });
        }
    }
    Ok(files)
}

/// Sets standard input aside in a temporary file.
///
/// # Errors
/// A failure of the temporary disk.
pub(super) fn stage(input: &mut dyn Read) -> Result<Temporary<TempPath>> {
    let doing = || "cannot write standard input to the temporary folder (TMPDIR)".to_owned();
    let file = temporary(NamedTempFile::new).temporary_context(doing)?;
    std::io::copy(input, &mut file.as_file()).temporary_context(doing)?;
    Ok(file.map(NamedTempFile::into_temp_path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_is_told_and_the_file_of_another_day_is_not_suggested() {
        let folder = tempfile::tempdir().expect("a folder");
        let hints = |name: &str| {
            let place = Location::local(folder.path().join(name));
            files_of(&place)
                .expect_err("no such file")
                .hints()
                .to_owned()
        };
        std::fs::write(folder.path().join("item-2024-01-01.csv"), "id\n1\n").expect("written");
        let suggested = hints("itm-2024-01-01.csv");
        assert!(
            matches!(suggested.as_slice(), [hint] if hint.ends_with("item-2024-01-01.csv'?")),
            "{suggested:?}"
        );
        assert!(hints("item-2024-01-02.csv").is_empty());
        assert!(hints("price.csv").is_empty());
    }

    #[test]
    fn a_folder_stands_for_all_that_is_below_it_and_is_not_hidden() {
        let folder = tempfile::tempdir().expect("a folder");
        let store =
            crate::storage::object_store::registry::Stores::new(Vec::new(), Default::default())
                .expect("stores")
                .in_memory("memory://test");
        for path in [
            "in/a.csv",
            "in/eu/b.csv",
            "in/eu/deep/c.csv",
            "in/_tmp/d.csv",
            "in/eu/.hidden/e.csv",
            "in/_SUCCESS",
            "into/f.csv",
        ] {
            let local = folder.path().join(path);
            std::fs::create_dir_all(local.parent().expect("a folder")).expect("made");
            std::fs::write(local, "id\n1\n").expect("written");
            store.put(path, b"id\n1\n".to_vec()).expect("written");
        }
        store
            .put("in/eu", Vec::new())
            .expect("the marker of a folder");
        for root in [Location::local(folder.path()), Location::remote(store, "")] {
            let names = |pattern: &str| -> Vec<String> {
                files_of(&root.join(pattern))
                    .expect("files")
                    .iter()
                    .filter_map(|object| object.location.below(&root))
                    .collect()
            };
            assert_eq!(names("in"), ["in/a.csv", "in/eu/b.csv", "in/eu/deep/c.csv"]);
            assert_eq!(
                names("in/**/*.csv"),
                ["in/a.csv", "in/eu/b.csv", "in/eu/deep/c.csv"]
            );
            assert_eq!(names("in/*.csv"), ["in/a.csv"]);
        }
    }

    #[test]
    fn a_folder_that_is_a_table_of_another_format_is_refused() {
        use crate::domain::layout::Layout;
        use crate::storage::lake::partitions::find;
        let date = |text| crate::model::parse_date(text).expect("a date");
        let range =
            crate::model::DateRange::new(date("2024-01-01"), date("2024-01-02")).expect("a range");
        for (log, name) in [
            ("_delta_log/00000000000000000000.json", "Delta Lake"),
            (".hoodie/hoodie.properties", "Hudi"),
            ("metadata/00000-1.metadata.json", "Iceberg"),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let store =
                crate::storage::object_store::registry::Stores::new(Vec::new(), Default::default())
                    .expect("stores")
                    .in_memory("memory://test");
            for path in [
                "dim/date=2024-01-01/a.parquet".to_owned(),
                format!("dim/{log}"),
                "plain/date=2024-01-01/a.parquet".to_owned(),
                format!("dated/date=2024-01-02/{log}"),
                "dated/date=2024-01-02/a.parquet".to_owned(),
            ] {
                let local = folder.path().join(&path);
                std::fs::create_dir_all(local.parent().expect("a folder")).expect("made");
                std::fs::write(local, "x").expect("written");
                store.put(&path, b"x".to_vec()).expect("written");
            }
            for root in [Location::local(folder.path()), Location::remote(store, "")] {
                let layout = Layout::parse("date=%Y-%m-%d").expect("a layout");
                let refusals = [
                    files_of(&root.join("dim")).err(),
                    files_of(&root.join("dim/**/*.parquet")).err(),
                    find(&root.join("dim"), &layout, Some(range)).err(),
                    find(&root.join("dated"), &layout, Some(range)).err(),
                ];
                for (at, refusal) in refusals.into_iter().enumerate() {
                    let refusal =
                        refusal.unwrap_or_else(|| panic!("{name}, {at} in {root} was read"));
                    assert_eq!(refusal.kind(), crate::error::Kind::Refused, "{refusal}");
                    assert!(
                        refusal.to_string().contains(name)
                            && refusal.hints()[0].starts_with("export it first"),
                        "{refusal}"
                    );
                }
                assert_eq!(
                    files_of(&root.join("plain")).expect("a plain folder").len(),
                    1
                );
                assert_eq!(
                    find(&root.join("plain"), &layout, Some(range))
                        .expect("a plain folder")
                        .dates()
                        .len(),
                    1
                );
            }
        }
    }
}
