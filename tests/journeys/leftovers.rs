//! What killed processes leave is removed when it is older than a day, whatever else there is to
//! do; and looking for it, as all else, costs no more in an old lake than in a young one.

use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::time::{Duration, SystemTime};

use rustix::fs::inotify;

use super::environment::World;

const LAKE: &str = "lake/item";

/// Puts a file into a folder as a killed process leaves it, and says where.
fn plant(world: &World, folder: &str, days: u64) -> String {
    let path = format!("{folder}/.asof-{days}.tmp");
    world.write(&path, "half");
    let file = std::fs::File::options().write(true).open(world.path(&path));
    // The clock of a world is its own.
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_258_400);
    file.and_then(|file| file.set_modified(now - Duration::from_secs(days * 86_400)))
        .expect("its time is set");
    path
}

#[test]
fn leftovers_are_removed_even_if_there_is_nothing_else_to_do() {
    let mut world = World::shop(1);
    world.succeeds("compact item");
    let dated = |root: &str| format!("{LAKE}/{root}/snapshot_date=2024-03-01");
    let job = "backfill --events item_events --table item --on item_id=id --how inner \
               --from 2024-03-01 --to 2024-03-01 --out out";
    let output = "out/date=2024-03-01";
    world.succeeds(job);
    let night_before = format!("{LAKE}/snapshots/snapshot_date=2024-02-20");
    let long_ago = format!("{LAKE}/snapshots/snapshot_date=2020-02-20");
    for (folder, command) in [
        (dated("snapshots").as_str(), "snapshot item"),
        (&dated("superseded"), "snapshot item"),
        (&dated("_changes"), "snapshot item"),
        (&night_before, "snapshot item"),
        (&long_ago, "compact item"),
        (&format!("{LAKE}/intervals"), "compact item"),
        (output, job),
        ("out/_asof/failed/out", job),
        ("files", "show item --date 2024-03-01 --out files/x.parquet"),
        (
            "copies/snapshot_date=2024-03-01",
            "expand item --from 2024-03-01 --to 2024-03-01 --out copies",
        ),
        (
            "copies/snapshot_date=2024-03-01",
            "expand item --from 2024-03-01 --to 2024-03-01 --out copies",
        ),
    ] {
        let (old, young) = (plant(&world, folder, 2), plant(&world, folder, 0));
        world.succeeds(command);
        assert!(
            !world.path(&old).exists(),
            "{old} stays after asof {command}"
        );
        assert!(world.path(&young).exists(), "{young} may be at work");
        std::fs::remove_file(world.path(&young)).expect("removed");
    }
}

#[test]
fn what_others_left_among_their_copies_is_left_there() {
    let mut world = World::new();
    world.write("copies/date=2024-01-01/x.csv", "id\n1\n");
    let theirs = plant(&world, "copies/date=2024-01-01", 2);
    world.succeeds(
        "compact item --snapshots copies --layout date=%Y-%m-%d --key id --out item.parquet",
    );
    assert!(world.path(&theirs).exists());
}

/// The folders of dates that a command opens below a root.
fn folders_opened(world: &World, root: &str, command: &str) -> BTreeSet<String> {
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).expect("inotify");
    inotify::add_watch(&watch, world.path(root), inotify::WatchFlags::OPEN).expect("watched");
    let output = world.quietly(command);
    assert_eq!(output.status.code(), Some(0), "{command}: {output:?}");
    let mut buffer = [MaybeUninit::uninit(); 1 << 16];
    let mut events = inotify::Reader::new(watch, &mut buffer);
    let mut opened = BTreeSet::new();
    while let Ok(event) = events.next() {
        let name = event
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        opened.extend(name);
    }
    opened
}

#[test]
fn the_folders_that_are_opened_depend_on_the_range_and_not_on_the_age_of_a_lake() {
    let mut world = World::shop(2);
    world.succeeds("compact item");
    let snapshots = format!("{LAKE}/snapshots");
    let copy = world.path(&format!(
        "{snapshots}/snapshot_date=2024-03-01/item.parquet"
    ));
    let first = chrono::NaiveDate::from_ymd_opt(2024, 2, 29).expect("a date");
    // Whoever opens one of these is told that it is of another date.
    for date in (0..3_513).filter_map(|days| first.checked_sub_days(chrono::Days::new(days))) {
        let folder = world.path(&format!("{snapshots}/snapshot_date={date}"));
        std::fs::create_dir(&folder).expect("made");
        std::fs::hard_link(&copy, folder.join("item.parquet")).expect("linked");
    }
    let job = "backfill --events item_events --table item --on item_id=id --how inner \
               --from 2024-03-02 --to 2024-03-02 --using snapshots --out out";
    for (command, most) in [
        ("snapshot item", 33),
        ("show item --date 2024-03-02", 33),
        (job, 33),
    ] {
        let opened = folders_opened(&world, &snapshots, command);
        assert!(
            !opened.is_empty() && opened.len() <= most,
            "asof {command} opened {} folders",
            opened.len()
        );
    }
    world.night(3);
    let opened = folders_opened(&world, &snapshots, "snapshot item");
    assert!(opened.len() <= 34, "{} folders were opened", opened.len());
}
