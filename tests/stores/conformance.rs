//! What holds of every place that asof writes to: a disk, the memory of a process, S3, Azure and
//! Google.
//!
//! Each function here is a test on each of them. Where one cannot do a thing, the function says so.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::{Arc, Barrier};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use asof::domain::layout::Layout;
use asof::error::{Error, Kind};
use asof::model::{DateRange, parse_date};
use asof::source::files_of;
use asof::storage::lake::aside::{
    MARKER, PRUNED, is_being_dropped, move_copy, publish_copy, put_aside,
};
use asof::storage::lake::commit::{Published, Staged, sweep};
use asof::storage::lake::deletion::{Deletion, delete_with_witness, is_being_pruned};
use asof::storage::lake::folders::Entry;
use asof::storage::lake::location::{Location, Object};
use asof::storage::lake::partitions::{find, find_by, find_if_there};
use asof::storage::lake::read::ObjectReader;
use asof::storage::lake::standing::Standing;
use asof::storage::object_store::registry::Stores;
use asof::storage::object_store::search::Strategy;
use asof::storage::object_store::service::Service;
use asof::storage::object_store::upload::PART;
use asof::storage::parquet::object::ParquetObject;
use asof::storage::parquet::writer::ObjectWriter;
use chrono::{Days, NaiveDate, Utc};

use super::servers::{Server, store_and_key};

/// A place of one test's own.
struct Backend {
    root: Location,
    service: Option<Service>,
    _folder: Option<tempfile::TempDir>,
}

impl Backend {
    fn local() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Backend {
            root: Location::local(folder.path()),
            service: None,
            _folder: Some(folder),
        }
    }

    fn memory() -> Self {
        let store = Stores::new(Vec::new(), BTreeMap::new())
            .expect("stores")
            .in_memory("memory://conformance");
        Backend {
            root: Location::remote(store, "root"),
            service: Some(Service::Memory),
            _folder: None,
        }
    }

    fn on(server: Server) -> Self {
        let service = match server {
            Server::S3 | Server::Unsafe => Service::S3,
            Server::Azure => Service::Azure,
            Server::Google => Service::Google,
        };
        Backend {
            root: server.at(&server.prefix("conformance")),
            service: Some(service),
            _folder: None,
        }
    }

    fn at(&self, path: &str) -> Location {
        self.root.join(path)
    }

    /// Writes an object as other tools do, without any condition.
    fn put(&self, path: &str, bytes: &[u8]) {
        put(&self.at(path), bytes);
    }

    /// Every file or object, hidden ones too.
    fn all(&self) -> BTreeSet<String> {
        fn walk(place: &Location, above: &str, found: &mut BTreeSet<String>) {
            for Entry { name, is_folder } in place.entries().expect("listed") {
                let path = format!("{above}{name}");
                match is_folder {
                    true => walk(&place.join(&name), &format!("{path}/"), found),
                    false => drop(found.insert(path)),
                }
            }
        }
        let mut found = BTreeSet::new();
        walk(&self.root, "", &mut found);
        found
    }
}

fn put(place: &Location, bytes: &[u8]) {
    match place.as_local() {
        Some(path) => {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders are made");
            std::fs::write(path, bytes).expect("written");
        }
        None => {
            let (store, key) = store_and_key(place);
            store.put(&key, bytes.to_vec()).expect("written");
        }
    }
}

fn staged(place: &Location, bytes: &[u8]) -> Staged {
    let staged = Staged::create(place).expect("staged");
    staged
        .writer()
        .expect("a writer")
        .write_all(bytes)
        .expect("written");
    staged
}

fn content(place: &Location) -> Option<Vec<u8>> {
    place.read_small().expect("read")
}

fn text_of(place: &Location) -> Option<String> {
    content(place).map(|bytes| String::from_utf8(bytes).expect("text"))
}

/// Bytes that are told apart everywhere, and of which no two parts are alike.
fn many(length: usize, salt: u64) -> Vec<u8> {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[track_caller]
fn is_conflict(result: Result<Published, Error>) {
    assert_eq!(
        result.expect_err("somebody else was first").kind(),
        Kind::Conflict
    );
}

/// Asserts without printing megabytes.
#[track_caller]
fn same(found: Option<Vec<u8>>, expected: &[u8]) {
    assert!(
        found.as_deref() == Some(expected),
        "{:?} bytes, and not the {} expected",
        found.map(|bytes| bytes.len()),
        expected.len()
    );
}

fn a_name_is_given_once(backend: &Backend) {
    let place = backend.at("a/b/x");
    assert_eq!(content(&place), None);
    let first = staged(&place, b"first");
    let second = staged(&place, b"second");
    assert_eq!(first.publish_new().expect("published"), Published::Done);
    assert_eq!(second.publish_new().expect("tried"), Published::Exists);
    // Equal bytes are not a reason to say that they were published.
    assert_eq!(
        staged(&place, b"first").publish_new().expect("tried"),
        Published::Exists
    );
    assert_eq!(text_of(&place).as_deref(), Some("first"));
    assert_eq!(backend.all(), BTreeSet::from(["a/b/x".to_owned()]));
}

fn an_object_of_ones_own_is_replaced(backend: &Backend) {
    let place = backend.at("x");
    for text in ["first", "second", ""] {
        assert_eq!(
            staged(&place, text.as_bytes())
                .publish_over()
                .expect("published"),
            Published::Done
        );
        assert_eq!(text_of(&place).as_deref(), Some(text));
    }
    assert_eq!(backend.all().len(), 1);
}

fn what_is_not_published_leaves_no_trace(backend: &Backend) {
    drop(staged(&backend.at("a/b/x"), b"text"));
    assert!(backend.all().is_empty());
    assert!(!backend.at("a").is_folder().expect("looked"));
}

fn a_replacement_keeps_the_old_object_aside(backend: &Backend) {
    let place = backend.at("x");
    let aside = backend.at("old/x");
    staged(&place, b"first").publish_new().expect("published");
    assert_eq!(
        staged(&place, b"second")
            .publish_replacing(&aside, |_| Ok(true))
            .expect("replaced"),
        Published::Done
    );
    assert_eq!(
        (text_of(&place).as_deref(), text_of(&aside).as_deref()),
        (Some("second"), Some("first"))
    );
    // What is aside stays, though another replacement gives the same name.
    staged(&place, b"third")
        .publish_replacing(&aside, |_| Ok(true))
        .expect("replaced");
    assert_eq!(text_of(&place).as_deref(), Some("third"));
    // On a disk a name is renamed over where it cannot be linked: there the caller's names are
    // unique (a time and a fingerprint).
    if backend.service.is_some() {
        assert_eq!(
            text_of(&aside).as_deref(),
            Some("first"),
            "aside is never overwritten"
        );
    }
}

fn a_replacement_of_what_has_changed_is_a_conflict(backend: &Backend) {
    let place = backend.at("x");
    let aside = backend.at("old/x");
    staged(&place, b"first").publish_new().expect("published");
    is_conflict(staged(&place, b"second").publish_replacing(&aside, |_| Ok(false)));
    assert_eq!(
        (text_of(&place).as_deref(), text_of(&aside)),
        (Some("first"), None)
    );
    // Rewritten after it was found unchanged. On a disk everybody who replaces holds the lock, so
    // there it does not happen.
    if backend.service.is_some() {
        let meanwhile = |_: &Location| {
            put(&place, b"theirs");
            Ok(true)
        };
        is_conflict(staged(&place, b"second").publish_replacing(&aside, meanwhile));
        assert_eq!(text_of(&place).as_deref(), Some("theirs"));
        let gone = |_: &Location| place.remove().map(|()| true);
        let error = staged(&place, b"second")
            .publish_replacing(&backend.at("old/y"), gone)
            .expect_err("it is gone");
        assert!(matches!(error.kind(), Kind::Conflict | Kind::Io), "{error}");
        assert_eq!(text_of(&place), None);
    }
    place.remove().expect("removed");
    if backend.service.is_some() {
        is_conflict(
            staged(&place, b"second").publish_replacing(&backend.at("old/z"), |_| Ok(true)),
        );
    }
}

fn an_object_takes_the_place_of_the_one_that_was_found_and_of_no_other(backend: &Backend) {
    let place = backend.at("x");
    let publish = |text: &str, found: &Standing| {
        let staged = staged(&place, text.as_bytes());
        staged.publish_in_place_of(found).expect("an answer")
    };
    let found = || place.standing().expect("looked");
    let nothing = found();
    assert_eq!(publish("first", &nothing), Published::Done);
    assert_eq!(publish("late", &nothing), Published::Exists);
    let first = found();
    assert_eq!(publish("second", &first), Published::Done);
    assert_eq!(publish("late", &first), Published::Exists);
    assert_eq!(text_of(&place).as_deref(), Some("second"));
    place.remove().expect("removed");
    assert_eq!(publish("late", &first), Published::Exists);
    assert_eq!(text_of(&place), None);
    assert!(backend.all().is_empty(), "{:?}", backend.all());
}

fn of_sixteen_threads_one_publishes(backend: &Backend) {
    for round in 0..5 {
        let place = backend.at(&format!("{round}/x"));
        let start = Barrier::new(16);
        let race = |writer: usize| {
            let staged = staged(&place, format!("writer {writer}").as_bytes());
            start.wait();
            staged.publish_new().expect("an answer")
        };
        let ends: Vec<Published> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|writer| scope.spawn(move || race(writer)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("it ends"))
                .collect()
        });
        let winners: Vec<usize> = (0..16)
            .filter(|writer| ends[*writer] == Published::Done)
            .collect();
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(
            text_of(&place),
            Some(format!("writer {}", winners[0])),
            "round {round}"
        );
    }
    assert_eq!(backend.all().len(), 5, "and nothing else is left");
}

fn of_sixteen_threads_that_replace_none_loses_anothers_object(backend: &Backend) {
    for round in 0..4 {
        let folder = backend.at(&format!("{round}"));
        let place = folder.join("x");
        staged(&place, b"first").publish_new().expect("published");
        let start = Barrier::new(16);
        let race = |writer: usize| {
            start.wait();
            let mine = format!("w{writer}");
            let old = text_of(&place).expect("it stands");
            // Named after what is replaced, as snapshots are: writers who replace the same one
            // share the name.
            let aside = folder.join(&format!("old/{old}"));
            let unchanged = |place: &Location| Ok(text_of(place).as_ref() == Some(&old));
            match staged(&place, mine.as_bytes()).publish_replacing(&aside, unchanged) {
                Ok(_) => Some(mine),
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Conflict, "{error}");
                    None
                }
            }
        };
        let mut published: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|writer| scope.spawn(move || race(writer)))
                .collect();
            threads
                .into_iter()
                .filter_map(|thread| thread.join().expect("it ends"))
                .collect()
        });
        assert!(!published.is_empty(), "round {round}: nobody won");
        published.push("first".to_owned());
        let mut found = vec![text_of(&place).expect("it stands")];
        for entry in folder.join("old").entries().expect("listed") {
            let aside = text_of(&folder.join("old").join(&entry.name)).expect("it is there");
            assert_eq!(
                aside, entry.name,
                "round {round}: aside is what its name says"
            );
            // A loser's copy of what still stands may be there too.
            if !found.contains(&aside) {
                found.push(aside);
            }
        }
        published.sort();
        found.sort();
        assert_eq!(
            found, published,
            "round {round}: each that was published stands or is aside"
        );
    }
}

fn a_snapshot_that_is_put_aside_frees_its_name(backend: &Backend) {
    let place = backend.at("x");
    let aside = backend.at("old/x");
    staged(&place, b"first").publish_new().expect("published");
    let error = put_aside(&place, &aside, |_| Ok(false)).expect_err("it is another one");
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    assert_eq!(
        (text_of(&place).as_deref(), text_of(&aside)),
        (Some("first"), None)
    );
    put_aside(&place, &aside, |_| Ok(true)).expect("put aside");
    assert_eq!(
        (text_of(&place), text_of(&aside).as_deref()),
        (None, Some("first"))
    );
    let moved = backend.at("older/x");
    move_copy(&aside, &moved).expect("moved");
    assert_eq!(text_of(&aside), None);
    let published = |copy: &Location| publish_copy(copy, &place).expect("an answer");
    assert_eq!(published(&moved), Published::Done);
    assert_eq!(published(&moved), Published::Exists);
    assert_eq!(
        (text_of(&place).as_deref(), text_of(&moved).as_deref()),
        (Some("first"), Some("first"))
    );
    // The process that put it aside was killed before the name was free.
    if backend.service.is_some() {
        assert!(!is_being_dropped(&place).expect("looked"));
        put(&place, MARKER);
        assert!(is_being_dropped(&place).expect("looked"));
        put_aside(&place, &aside, |_| Ok(false)).expect("finished");
        assert_eq!((text_of(&place), text_of(&aside)), (None, None));
    }
}

fn an_object_is_deleted_if_it_and_its_witness_are_those_that_were_found(backend: &Backend) {
    let layout = Layout::parse("d=%Y-%m-%d").expect("a layout");
    let root = backend.at("copies");
    let place = root.join("d=2024-03-01/x");
    let witness = backend.at("witness");
    let find = || {
        let found = find_if_there(&root, &layout, None).expect("found");
        let mut dates = found.partitions.into_values();
        dates.next().map(|objects| objects[0].clone())
    };
    put(&place, b"first");
    put(&witness, b"proof");
    let (object, proof) = (find().expect("there"), witness.standing().expect("looked"));
    let delete = || delete_with_witness(&object, &witness, &proof).expect("an answer");
    put(&witness, b"another");
    assert_eq!(delete(), Deletion::WitnessReplaced);
    let another = witness.standing().expect("looked");
    put(&place, b"second");
    let delete =
        |object: &Object| delete_with_witness(object, &witness, &another).expect("an answer");
    assert_eq!(delete(&object), Deletion::Replaced);
    assert_eq!(text_of(&place).as_deref(), Some("second"));
    let object = find().expect("there");
    assert_eq!(delete(&object), Deletion::Done);
    assert_eq!(delete(&object), Deletion::Replaced);
    assert_eq!(find(), None);
    if backend.service.is_some() {
        assert!(!is_being_pruned(&place).expect("looked"));
        put(&place, PRUNED);
        assert!(is_being_pruned(&place).expect("looked"));
        assert!(is_being_dropped(&place).expect("looked"));
    }
}

fn of_threads_that_replace_and_put_aside_none_loses_anothers_object(backend: &Backend) {
    for round in 0..5 {
        let folder = backend.at(&format!("{round}"));
        let place = folder.join("x");
        staged(&place, b"first").publish_new().expect("published");
        let start = Barrier::new(12);
        let marker = String::from_utf8_lossy(MARKER).into_owned();
        let race = |writer: usize| {
            start.wait();
            let mine = format!("w{writer}");
            // Whoever finds the marker reports a conflict, as a snapshot does.
            let old = text_of(&place).filter(|old| *old != marker)?;
            let aside = folder.join(&format!("old/{old}"));
            let unchanged = |place: &Location| Ok(text_of(place).as_ref() == Some(&old));
            let done = match writer % 3 {
                0 => put_aside(&place, &aside, unchanged).map(|()| None),
                _ => staged(&place, mine.as_bytes())
                    .publish_replacing(&aside, unchanged)
                    .map(|_| Some(mine)),
            };
            done.unwrap_or_else(|error| {
                assert_eq!(error.kind(), Kind::Conflict, "{error}");
                None
            })
        };
        let mut published: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..12)
                .map(|writer| scope.spawn(move || race(writer)))
                .collect();
            threads
                .into_iter()
                .filter_map(|thread| thread.join().expect("it ends"))
                .collect()
        });
        published.push("first".to_owned());
        let mut found: Vec<String> = text_of(&place).into_iter().collect();
        for entry in folder.join("old").entries().expect("listed") {
            found.extend(text_of(&folder.join("old").join(&entry.name)));
        }
        published.sort();
        found.sort();
        found.dedup();
        assert_eq!(found, published, "round {round}");
    }
}

fn a_large_file_is_published_whole(backend: &Backend) {
    let size = 2 * usize::try_from(PART).expect("small") + 4_321_000;
    let one = many(size, 1);
    let other = many(size, 2);
    let place = backend.at("large");
    let aside = backend.at("old/large");
    assert_eq!(
        staged(&place, &one).publish_new().expect("published"),
        Published::Done
    );
    same(content(&place), &one);
    assert_eq!(
        staged(&place, &other).publish_new().expect("tried"),
        Published::Exists
    );
    same(content(&place), &one);
    is_conflict(staged(&place, &other).publish_replacing(&backend.at("old/none"), |_| Ok(false)));
    assert_eq!(
        staged(&place, &other)
            .publish_replacing(&aside, |_| Ok(true))
            .expect("replaced"),
        Published::Done
    );
    same(content(&place), &other);
    same(content(&aside), &one);
    if backend.service.is_some() {
        let meanwhile = |_: &Location| {
            put(&place, b"theirs");
            Ok(true)
        };
        is_conflict(staged(&place, &one).publish_replacing(&backend.at("old/lost"), meanwhile));
        assert_eq!(
            text_of(&place).as_deref(),
            Some("theirs"),
            "the object of the other writer stands"
        );
        backend.at("old/lost").remove().expect("removed");
    }
    staged(&place, &one).publish_over().expect("published");
    same(content(&place), &one);
    let all: Vec<String> = backend.all().into_iter().collect();
    assert_eq!(all, ["large", "old/large"], "no part of an upload is left");
}

fn of_four_threads_with_large_files_one_publishes(backend: &Backend) {
    let size = usize::try_from(PART).expect("small") + 1;
    let place = backend.at("x");
    let start = Barrier::new(4);
    let race = |writer: u64| {
        let staged = staged(&place, &many(size, writer));
        start.wait();
        staged.publish_new().expect("an answer") == Published::Done
    };
    let ends: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|writer| scope.spawn(move || race(writer)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("it ends"))
            .collect()
    });
    assert_eq!(ends.iter().filter(|won| **won).count(), 1);
    let winner = (0..).zip(&ends).find(|(_, won)| **won).expect("one").0;
    same(content(&place), &many(size, winner));
    assert_eq!(backend.all().len(), 1, "no part of an upload is left");
}

fn an_empty_file_is_a_file(backend: &Backend) {
    let place = backend.at("empty.csv");
    assert_eq!(
        staged(&place, b"").publish_new().expect("published"),
        Published::Done
    );
    assert_eq!(
        staged(&place, b"x").publish_new().expect("tried"),
        Published::Exists
    );
    assert!(place.exists().expect("looked"));
    assert_eq!(content(&place).as_deref(), Some(b"".as_slice()));
    let reader = ObjectReader::open(&place).expect("opened");
    assert_eq!(
        (reader.size(), reader.fetch(&[]).expect("nothing").len()),
        (0, 0)
    );
    let mut all = Vec::new();
    reader
        .stream()
        .expect("a stream")
        .read_to_end(&mut all)
        .expect("read");
    assert!(all.is_empty());
    staged(&place, b"x")
        .publish_replacing(&backend.at("old"), |_| Ok(true))
        .expect("replaced");
    assert_eq!(
        (
            text_of(&place).as_deref(),
            text_of(&backend.at("old")).as_deref()
        ),
        (Some("x"), Some(""))
    );
}

/// Names that mean something in a URL, in a path or in a pattern.
const NAMES: [&str; 8] = [
    "a b",
    "a%20b",
    "100%",
    "k=v",
    "a+b",
    "käse 表",
    "a&b=c",
    "it's ~ (1), #2!",
];

fn names_are_taken_as_they_are(backend: &Backend) {
    for name in NAMES {
        let place = backend.at(&format!("{name}/{name}.csv"));
        assert_eq!(
            staged(&place, name.as_bytes()).publish_new().expect(name),
            Published::Done,
            "{name}"
        );
        assert_eq!(
            staged(&place, b"other").publish_new().expect(name),
            Published::Exists,
            "{name}"
        );
        assert_eq!(text_of(&place).as_deref(), Some(name));
        assert!(
            place.exists().expect(name) && backend.at(name).is_folder().expect(name),
            "{name}"
        );
        staged(&place, b"new")
            .publish_replacing(&backend.at(&format!("old {name}")), |_| Ok(true))
            .expect(name);
        assert_eq!(
            text_of(&backend.at(&format!("old {name}"))).as_deref(),
            Some(name)
        );
    }
    let mut expected: Vec<&str> = NAMES.to_vec();
    expected.sort_unstable();
    assert_eq!(backend.root.folders().expect("listed"), expected);
    assert_eq!(backend.all().len(), 2 * NAMES.len());
    let layout = Layout::parse("%Y-%m-%d + 100%%").expect("a layout");
    backend.put("days/2024-03-01 + 100%/x", b"1");
    assert_eq!(
        find(&backend.at("days"), &layout, None)
            .expect("found")
            .dates(),
        [date("2024-03-01")]
    );
    let range = DateRange::new(date("2024-02-01"), date("2024-04-01")).expect("a range");
    assert_eq!(
        find(&backend.at("days"), &layout, Some(range))
            .expect("found")
            .dates(),
        [date("2024-03-01")]
    );
    for name in NAMES {
        backend
            .at(&format!("{name}/{name}.csv"))
            .remove()
            .expect(name);
        assert!(
            !backend
                .at(name)
                .join(&format!("{name}.csv"))
                .exists()
                .expect(name),
            "{name}"
        );
    }
}

fn folders_and_entries_are_told(backend: &Backend) {
    assert_eq!(backend.at("nothing").entries().expect("listed"), []);
    assert!(!backend.at("nothing").is_folder().expect("looked"));
    for path in [
        "item/snapshots/a",
        "item/b",
        "shop/c",
        "_asof/d",
        ".hidden/x",
        "e",
        "item.csv",
        "item-2/f",
    ] {
        backend.put(path, b"x");
    }
    let entry = |name: &str, is_folder| Entry {
        name: name.to_owned(),
        is_folder,
    };
    let expected = [
        entry(".hidden", true),
        entry("_asof", true),
        entry("e", false),
        entry("item", true),
        entry("item-2", true),
        entry("item.csv", false),
        entry("shop", true),
    ];
    assert_eq!(backend.root.entries().expect("listed"), expected);
    assert_eq!(
        backend.root.folders().expect("listed"),
        ["item", "item-2", "shop"],
        "hidden ones are not data"
    );
    let item = backend.at("item");
    assert_eq!(
        item.entries().expect("listed"),
        [entry("b", false), entry("snapshots", true)]
    );
    assert!(item.is_folder().expect("looked") && !backend.at("e").is_folder().expect("looked"));
    assert!(
        !backend.at("ite").is_folder().expect("looked"),
        "the beginning of a name is not a folder"
    );
    // On a disk a folder is something; in a store it is nothing by itself.
    assert_eq!(item.exists().expect("looked"), backend.service.is_none());
    assert!(
        backend.at("e").exists().expect("looked") && !backend.at("f").exists().expect("looked")
    );
    assert_eq!(content(&backend.at("f")), None);
    backend
        .at("f")
        .remove()
        .expect("nothing is there to remove");
    backend.at("item/b").remove().expect("removed");
    assert_eq!(item.entries().expect("listed"), [entry("snapshots", true)]);
}

fn patterns_pick_objects(backend: &Backend) {
    for path in [
        "in/a.csv",
        "in/b.csv",
        "in/c.json",
        "in/deep/d.csv",
        "in/deep/deeper/e.csv",
        "input/f.csv",
    ] {
        backend.put(path, path.as_bytes());
    }
    let like = |pattern: &str| -> Vec<String> {
        let objects = backend.at(pattern).objects_like().expect(pattern);
        assert!(objects.iter().all(|object| object.size
            == object.location.below(&backend.root).expect("below").len() as u64));
        let mut paths: Vec<String> = objects
            .iter()
            .map(|object| object.location.below(&backend.root).expect("below"))
            .collect();
        paths.sort();
        paths
    };
    if backend.service.is_none() {
        // Patterns of a disk are asked of the disk, elsewhere.
        return assert_eq!(like("in/*.csv"), Vec::<String>::new());
    }
    assert_eq!(like("in/a.csv"), ["in/a.csv"]);
    assert_eq!(
        like("in"),
        [
            "in/a.csv",
            "in/b.csv",
            "in/c.json",
            "in/deep/d.csv",
            "in/deep/deeper/e.csv"
        ],
        "a folder is what lies below it"
    );
    assert_eq!(like("in/*.csv"), ["in/a.csv", "in/b.csv"]);
    assert_eq!(like("in/[ab].*"), ["in/a.csv", "in/b.csv"]);
    assert_eq!(like("in/?.json"), ["in/c.json"]);
    assert_eq!(
        like("in/a.csv*"),
        ["in/a.csv"],
        "a star may stand for nothing"
    );
    assert_eq!(
        like("in/**/*.csv"),
        [
            "in/a.csv",
            "in/b.csv",
            "in/deep/d.csv",
            "in/deep/deeper/e.csv"
        ]
    );
    assert_eq!(like("in*/*.csv"), ["in/a.csv", "in/b.csv", "input/f.csv"]);
    assert_eq!(like("none/*"), Vec::<String>::new());
    assert_eq!(like("none"), Vec::<String>::new());
    assert_eq!(
        backend
            .at("in/[")
            .objects_like()
            .expect_err("no pattern")
            .kind(),
        Kind::Usage
    );
}

fn ranges_come_in_the_order_in_which_they_are_asked(backend: &Backend) {
    let bytes = many(300_000, 7);
    backend.put("x", &bytes);
    let end = bytes.len() as u64;
    let asked = [
        0..10,
        end - 8..end,
        150_000..150_001,
        50_000..120_000,
        20..30,
        299_000..299_100,
        200_000..end,
    ];
    let reader = ObjectReader::open(&backend.at("x")).expect("opened");
    assert_eq!(reader.size(), end);
    let cut = |range: &std::ops::Range<u64>| {
        bytes[usize::try_from(range.start).expect("small")
            ..usize::try_from(range.end).expect("small")]
            .to_vec()
    };
    let found = reader.fetch(&asked).expect("read");
    assert_eq!(found.len(), asked.len());
    for (range, found) in asked.iter().zip(&found) {
        assert!(found.as_ref() == cut(range), "{range:?}");
    }
    for range in &asked {
        assert!(
            reader.fetch(std::slice::from_ref(range)).expect("read")[0].as_ref() == cut(range),
            "{range:?}, alone"
        );
    }
    assert!(reader.fetch(&[]).expect("nothing").is_empty());
    let mut reader = reader;
    reader.release();
    assert!(reader.fetch(&asked[..1]).expect("read again")[0].as_ref() == cut(&asked[0]));
    let missing = ObjectReader::open(&backend.at("y"))
        .err()
        .expect("nothing has this name");
    assert_eq!(missing.kind(), Kind::Io);
}

fn a_stream_reads_and_seeks(backend: &Backend) {
    let bytes = many(20_000_000, 8);
    backend.put("x", &bytes);
    let mut stream = ObjectReader::open(&backend.at("x"))
        .expect("opened")
        .stream()
        .expect("a stream");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("read");
    assert!(all == bytes, "{} bytes of {}", all.len(), bytes.len());
    let mut piece = [0; 1000];
    for (to, from) in [
        (SeekFrom::Start(8_388_000), 8_388_000),
        (SeekFrom::Current(-2000), 8_387_000),
        (SeekFrom::End(-1000), 19_999_000),
    ] {
        assert_eq!(stream.seek(to).expect("sought"), from as u64);
        stream.read_exact(&mut piece).expect("read");
        assert!(piece == bytes[from..from + 1000], "{to:?}");
    }
    assert_eq!(stream.read(&mut piece).expect("the end"), 0);
    assert!(stream.seek(SeekFrom::Current(-30_000_000)).is_err());
}

fn an_object_that_was_replaced_is_not_mixed_with_the_new_one(backend: &Backend) {
    let old = many(300_000, 1);
    let new = many(300_000, 2);
    let place = backend.at("x");
    backend.put("x", &old);
    let reader = ObjectReader::open(&place).expect("opened");
    let mut released = ObjectReader::open(&place).expect("opened");
    released.release();
    let mut stream = ObjectReader::open(&place)
        .expect("opened")
        .stream()
        .expect("a stream");
    staged(&place, &new).publish_over().expect("replaced");
    match backend.service {
        // A file that is held open stays what it was.
        None => assert!(
            reader
                .fetch(&[0..1000, 100_000..101_000])
                .expect("held open")[1]
                == old[100_000..101_000]
        ),
        Some(_) => {
            assert_eq!(
                reader
                    .fetch(&[0..1000, 100_000..101_000])
                    .expect_err("it was replaced")
                    .kind(),
                Kind::Io
            );
            let mut all = Vec::new();
            assert!(
                stream.read_to_end(&mut all).is_err(),
                "{} bytes were read",
                all.len()
            );
        }
    }
    let error = released
        .fetch(&[0..1000, 100_000..101_000])
        .expect_err("it was replaced");
    assert!(
        error.kind() == Kind::Io && error.to_string().contains("replaced"),
        "{error}"
    );
    // What a listing told is another object by now.
    let listed = files_of(&place).expect("looked").remove(0);
    assert!(ObjectReader::open_listed(&listed).is_ok());
    staged(&place, &old).publish_over().expect("replaced");
    let error = ObjectReader::open_listed(&listed)
        .err()
        .expect("it was replaced");
    assert!(
        error.kind() == Kind::Io && error.to_string().contains("replaced"),
        "{error}"
    );
}

fn a_file_that_is_written_to_while_it_is_read_is_not_read_to_its_end(backend: &Backend) {
    let place = backend.at("x");
    let Some(path) = place.as_local() else { return };
    backend.put("x", b"id,v\n1,old\n");
    let listed = files_of(&place).expect("looked").remove(0);
    let mut stream = ObjectReader::open_listed(&listed)
        .and_then(ObjectReader::stream)
        .expect("a stream");
    let mut begun = [0; 5];
    stream.read_exact(&mut begun).expect("read");
    std::fs::write(path, b"id,v\n1,new\n").expect("written in place");
    let error = stream.read_to_end(&mut Vec::new()).expect_err("it changed");
    assert!(error.to_string().contains("was written to"), "{error}");
    assert!(ObjectReader::open_listed(&listed).is_err());
    let reader = ObjectReader::open(&place).expect("opened");
    let items = [1, 2].into_iter().map(|item| {
        if item == 2 {
            std::fs::write(path, b"id,v\n1,old\n").expect("written in place");
        }
        Ok(item)
    });
    let read: Vec<_> = reader.unchanged(items).collect();
    assert!(read.len() == 3 && read[2].is_err());
}

fn date(text: &str) -> NaiveDate {
    parse_date(text).expect("a date")
}

/// Writes objects from several threads, since each is a request.
fn put_all(backend: &Backend, paths: &[String], bytes: &[u8]) {
    std::thread::scope(|scope| {
        for chunk in paths.chunks(paths.len().div_ceil(8).max(1)) {
            scope.spawn(move || chunk.iter().for_each(|path| backend.put(path, bytes)));
        }
    });
}

/// Below a root under a layout: these dates have these files, and some names are of no date.
fn holds_what_a_filter_finds(
    backend: &Backend,
    root: &str,
    template: &str,
    lake: &BTreeMap<NaiveDate, Vec<&str>>,
) {
    let layout = Layout::parse(template).expect("a layout");
    let path = |date: &NaiveDate, file: &&str| match file.is_empty() {
        true => layout.path(*date),
        false => format!("{}/{file}", layout.path(*date)),
    };
    let mut paths: Vec<String> = lake
        .iter()
        .flat_map(|(date, files)| files.iter().map(move |file| path(date, file)))
        .collect();
    let data = paths.clone();
    if !paths.iter().any(|path| path.ends_with(".csv")) {
        paths.extend(
            lake.keys()
                .take(3)
                .map(|date| format!("{}/_SUCCESS", layout.path(*date))),
        );
        paths.extend(
            lake.keys()
                .take(3)
                .map(|date| format!("{}/.part.crc", layout.path(*date))),
        );
    }
    paths.extend(["_asof/2024-03-01/x", "unrecognized/x.csv", ".tmp/x"].map(str::to_owned));
    let below: Vec<String> = paths.iter().map(|path| format!("{root}/{path}")).collect();
    put_all(backend, &below, b"x");
    // A root whose name begins like this one's.
    backend.put(
        &format!("{root}-2/{}/x", layout.path(date("2024-03-01"))),
        b"x",
    );
    let root = backend.at(root);
    let ranges = [
        None,
        Some(("2024-03-01", "2024-03-01")),
        Some(("2024-02-27", "2024-03-11")),
        Some(("2023-12-30", "2024-01-02")),
        Some(("2022-01-01", "2025-12-31")),
        Some(("2030-01-01", "2030-01-05")),
    ];
    for range in ranges
        .map(|range| range.map(|(from, to)| DateRange::new(date(from), date(to)).expect("a range")))
    {
        let mut expected: Vec<String> = data
            .iter()
            .filter(|path| {
                let leaf: Vec<&str> = path.split('/').take(layout.depth()).collect();
                let date = layout.date(&leaf.join("/")).expect("a date");
                range.is_none_or(|range| range.contains(date))
            })
            .cloned()
            .collect();
        expected.sort();
        for strategy in [Strategy::Guided, Strategy::Listing, Strategy::Paths] {
            let is_long = range.is_none_or(|range| range.len() > 20);
            if strategy == Strategy::Paths && is_long {
                // A request a date: too many of them for a test, and for anybody.
                continue;
            }
            let found = find_by(strategy, &root, &layout, range).expect("found");
            let mut paths: Vec<String> = found
                .partitions
                .values()
                .flatten()
                .map(|object| object.relative.clone())
                .collect();
            paths.sort();
            assert_eq!(paths, expected, "{template}, {range:?}, {strategy:?}");
            for (date, objects) in &found.partitions {
                let at = layout.path(*date);
                assert!(
                    objects
                        .iter()
                        .all(|object| object.relative.starts_with(&at) && object.size == 1),
                    "{date}"
                );
                assert!(
                    objects
                        .iter()
                        .all(|object| object.location == root.join(&object.relative)),
                    "{date}"
                );
            }
        }
    }
}

fn every_layout_finds_what_a_filter_finds(backend: &Backend) {
    let days = [
        "2023-12-31",
        "2024-01-01",
        "2024-02-28",
        "2024-02-29",
        "2024-03-01",
        "2024-03-02",
        "2024-03-10",
        "2024-03-11",
        "2025-03-01",
    ];
    let folders: BTreeMap<NaiveDate, Vec<&str>> = days
        .iter()
        .map(|day| (date(day), vec!["a.csv", "h=3/b.csv"]))
        .collect();
    let files: BTreeMap<NaiveDate, Vec<&str>> =
        days.iter().map(|day| (date(day), vec![""])).collect();
    holds_what_a_filter_finds(backend, "hive", "year=%Y/month=%m/day=%d", &folders);
    holds_what_a_filter_finds(backend, "iso", "dt=%Y-%m-%d", &folders);
    holds_what_a_filter_finds(backend, "names", "%Y-%m-%d.csv", &files);
    holds_what_a_filter_finds(backend, "day-first-names", "%d-%m-%Y.csv", &files);
    holds_what_a_filter_finds(backend, "unpadded", "%Y/%-m/%-d", &folders);
    holds_what_a_filter_finds(backend, "day-first", "%d-%m-%Y", &folders);
    holds_what_a_filter_finds(backend, "ordinal", "%Y/%j", &folders);
}

fn pages_follow_on_one_another(backend: &Backend) {
    let first = date("2023-06-01");
    let lake: BTreeMap<NaiveDate, Vec<&str>> = (0..367)
        .map(|day| (first + Days::new(day), vec!["a.csv", "b.csv", "c.csv"]))
        .collect();
    holds_what_a_filter_finds(backend, "year", "year=%Y/month=%m/day=%d", &lake);
    let entries: Vec<String> = (0..1_100).map(|n| format!("flat/{n:04}")).collect();
    put_all(backend, &entries, b"x");
    assert_eq!(backend.at("flat").entries().expect("listed").len(), 1_100);
    if backend.service.is_some() {
        assert_eq!(
            backend.at("flat/*").objects_like().expect("listed").len(),
            1_100
        );
    }
}

fn what_marks_a_folder_is_no_file(backend: &Backend) {
    let layout = Layout::parse("dt=%Y-%m-%d").expect("a layout");
    backend.put("lake/dt=2024-03-01/part-0.csv", b"x");
    let range = DateRange::new(date("2024-03-01"), date("2024-03-09")).expect("a range");
    if backend.service.is_some() {
        // Without the `/` at the end, as Azure's tools and Hadoop write them. Names with one cannot
        // be written by this client.
        for marker in [
            "lake",
            "lake/dt=2024-03-01",
            "lake/dt=2024-03-02",
            "lake/dt=2024-03-03/dt=2024-03-03_$folder$",
        ] {
            backend.put(marker, b"");
        }
    } else {
        std::fs::create_dir_all(backend.at("lake/dt=2024-03-02").as_local().expect("a path"))
            .expect("a folder");
    }
    for range in [None, Some(range)] {
        let found = find(&backend.at("lake"), &layout, range).expect("found");
        assert_eq!(found.dates(), [date("2024-03-01")]);
    }
    assert!(
        find(&backend.at("nowhere"), &layout, None)
            .expect_err("there is no such folder")
            .kind()
            == Kind::Usage
    );
}

fn leftovers_are_swept_after_a_day_and_not_before(backend: &Backend) {
    for name in [
        "day/.asof-1.tmp",
        "day/.asof-notes",
        "day/x",
        "other/.asof-2.tmp",
    ] {
        backend.put(name, b"x");
    }
    let before = backend.all();
    sweep(&backend.at("day"), Utc::now() + chrono::TimeDelta::hours(1));
    assert_eq!(backend.all(), before);
    sweep(
        &backend.at("day"),
        Utc::now() + chrono::TimeDelta::hours(25),
    );
    let swept = !backend.at("day/.asof-1.tmp").exists().expect("looked");
    // In the others nothing is staged, so nothing is looked for.
    assert_eq!(
        swept,
        matches!(backend.service, None | Some(Service::Google))
    );
    assert_eq!(backend.all().len(), before.len() - usize::from(swept));
}

/// Rows that are read as `show --where` reads some, and then all of them.
fn read_back(place: &Location) -> asof::error::Result<usize> {
    let object = ParquetObject::open(place)?;
    object.verify_unread()?;
    let some = object.read_rows(None, &(70_000..70_100))?;
    some.collect::<asof::error::Result<Vec<_>>>()?;
    object.read(None)?.map(|rows| Ok(rows?.num_rows())).sum()
}

fn a_flipped_bit_is_refused_wherever_it_lies(backend: &Backend) {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(
        (0..100_000).map(|id| id * 0x9e37_79b9 % 0xffff_fffb),
    ));
    let rows = RecordBatch::try_from_iter_with_nullable([("id", ids, true)]).expect("rows");
    let place = backend.at("x.parquet");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.parquet");
    let file = std::fs::File::create(&path).expect("a file");
    let mut writer = ObjectWriter::create(file, &rows.schema(), &[], &place).expect("a writer");
    writer.write(rows).expect("written");
    writer.finish_plain().expect("finished");
    let whole = std::fs::read(path).expect("the bytes");
    backend.put("x.parquet", &whole);
    assert_eq!(read_back(&place).expect("it is whole"), 100_000);
    for flip in 0..40 {
        let mut bytes = whole.clone();
        // Half of them in the last bytes, where most of what a reader trusts stands.
        let region = if flip % 2 == 0 { whole.len() } else { 1_000 };
        let at = whole.len() - 1 - flip * 7919 % region;
        bytes[at] ^= 1 << (flip % 8);
        backend.put("x.parquet", &bytes);
        let error = read_back(&place).expect_err("a bit is flipped");
        assert_eq!(error.kind(), Kind::Refused, "byte {at}: {error}");
        assert!(error.to_string().contains(&place.to_string()), "{error}");
    }
}

macro_rules! on_every_backend {
    ($($name:ident,)*) => {
        on_every_backend!(@ local, Backend::local(), $($name,)*);
        on_every_backend!(@ memory, Backend::memory(), $($name,)*);
        on_every_backend!(@ s3, Backend::on(Server::S3), $($name,)*);
        on_every_backend!(@ azure, Backend::on(Server::Azure), $($name,)*);
        on_every_backend!(@ google, Backend::on(Server::Google), $($name,)*);
    };
    (@ $module:ident, $backend:expr, $($name:ident,)*) => {
        mod $module {
            use super::*;
            $(
                #[test]
                fn $name() {
                    super::$name(&$backend);
                }
            )*
        }
    };
}

on_every_backend! {
    a_name_is_given_once,
    an_object_of_ones_own_is_replaced,
    what_is_not_published_leaves_no_trace,
    a_replacement_keeps_the_old_object_aside,
    a_replacement_of_what_has_changed_is_a_conflict,
    an_object_takes_the_place_of_the_one_that_was_found_and_of_no_other,
    of_sixteen_threads_one_publishes,
    of_sixteen_threads_that_replace_none_loses_anothers_object,
    a_snapshot_that_is_put_aside_frees_its_name,
    of_threads_that_replace_and_put_aside_none_loses_anothers_object,
    an_object_is_deleted_if_it_and_its_witness_are_those_that_were_found,
    a_large_file_is_published_whole,
    of_four_threads_with_large_files_one_publishes,
    an_empty_file_is_a_file,
    names_are_taken_as_they_are,
    folders_and_entries_are_told,
    patterns_pick_objects,
    ranges_come_in_the_order_in_which_they_are_asked,
    a_stream_reads_and_seeks,
    an_object_that_was_replaced_is_not_mixed_with_the_new_one,
    a_file_that_is_written_to_while_it_is_read_is_not_read_to_its_end,
    every_layout_finds_what_a_filter_finds,
    pages_follow_on_one_another,
    what_marks_a_folder_is_no_file,
    leftovers_are_swept_after_a_day_and_not_before,
    a_flipped_bit_is_refused_wherever_it_lies,
}
