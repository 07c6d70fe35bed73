//! Damage to a lake, as users meet it: who tells of it, what goes on all the same, and what mends
//! it.

use super::environment::{SHOP, World, text};

const NIGHTS: [&str; 3] = ["2024-03-01", "2024-03-02", "2024-03-03"];

fn snapshot(date: &str) -> String {
    format!("lake/item/snapshots/snapshot_date={date}/item.parquet")
}

/// Flips a bit where a value stands, or else in the middle of a file.
fn flip(world: &World, path: &str, value: &[u8]) {
    let mut bytes = world.bytes(path);
    let at = bytes
        .windows(value.len())
        .position(|window| window == value)
        .unwrap_or(bytes.len() / 2);
    bytes[at + 1] ^= 4;
    world.write(path, bytes);
}

fn cut(world: &World, path: &str) {
    let bytes = world.bytes(path);
    world.write(path, &bytes[..bytes.len() / 2]);
}

/// A table with three nights, whose code is one only by the first of them.
fn nights() -> World {
    let mut world = World::new();
    world.variable("ASOF_LAKE", "lake");
    for (date, codes) in NIGHTS.iter().zip(["007", "8", "9"]) {
        world.at(date);
        world.write("item.csv", format!("id,code\n1,{codes}\n2,5\n"));
        let taken = world.quietly("snapshot item --source item.csv --key id");
        assert_eq!(taken.status.code(), Some(0));
    }
    world
}

#[test]
fn a_damaged_last_copy_is_not_kept_and_keeps_no_night_from_being_taken() {
    let mut world = nights();
    cut(&world, &snapshot("2024-03-03"));
    world.tell("the same night again");
    world.refuses(3, "snapshot item --source item.csv");
    world.tell("the next night");
    world.at("2024-03-04");
    world.succeeds("snapshot item --source item.csv");
    let footer = world.footer(&snapshot("2024-03-04"));
    assert_eq!(footer["not_compared"], "2024-03-03");
    assert_eq!(world.column_type(&snapshot("2024-03-04"), "code"), "Utf8");
    world.refuses(3, "compact item");
    world.tell("mended");
    world.succeeds(
        "snapshot item --source item.csv --date 2024-03-03 --if-exists replace --backdate",
    );
    world.succeeds("compact item");
    world.succeeds("verify item");
    assert_eq!(
        world.listing("lake/item/superseded").len(),
        1,
        "the damaged copy is kept aside"
    );
    world.pin("damaged_copy");
}

#[test]
fn rows_that_are_damaged_do_not_keep_the_next_night_from_being_taken_either() {
    let mut world = nights();
    flip(&world, &snapshot("2024-03-03"), b"PAR1");
    world.at("2024-03-04");
    world.write("item.csv", "id,code\n1,9\n3,6\n");
    let taken = world.json("snapshot item --source item.csv");
    assert_eq!(taken[0]["not_compared"], "2024-03-03", "{taken}");
    assert_eq!(taken[0]["rows"], 2);
    assert_eq!(
        world.rows(&snapshot("2024-03-04")),
        ["id|code", "1|9", "3|6"]
    );
    world.tell("a copy with the same rows, of which the bytes are not");
    world.write("item.csv", "id,code\n1,9\n2,5\n");
    world.succeeds(
        "snapshot item --source item.csv --date 2024-03-03 --if-exists replace --backdate",
    );
    world.succeeds("verify item");
    world.pin("damaged_rows");
}

#[test]
fn a_link_that_leads_nowhere_is_no_copy() {
    let mut world = nights();
    let path = world.path(&snapshot("2024-03-03"));
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("gone.parquet", &path).unwrap();
    let ends = |world: &World, line: &str, code: i32, says: &str| {
        let output = world.quietly(line);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains(says), "{line}: {said}");
    };
    let nowhere = "2024-03-03/item.parquet' is a link that leads nowhere";
    ends(&world, "snapshot item --source item.csv", 3, nowhere);
    ends(&world, "show item", 3, nowhere);
    world.at("2024-03-04");
    ends(&world, "snapshot item --source item.csv", 0, nowhere);
    let again = "snapshot item --source item.csv --date 2024-03-03 --if-exists replace --backdate";
    ends(&world, again, 0, "replaced");
    ends(&world, "verify item", 0, "OK");
}

/// Three nights, and a job whose outputs are there.
fn sold() -> World {
    let mut world = World::shop(3);
    world.write(
        "asof.toml",
        format!(
            "{SHOP}\n[jobs.sold]\nevents = 'item_events'\ntable = 'item'\non = ['item_id=id']\nhow \
             = 'left'\noutput = 'out'\n"
        ),
    );
    world.succeeds("backfill sold --from 2024-03-01 --to 2024-03-03");
    world
}

#[test]
fn damage_spreads_to_no_other_date_and_no_output() {
    let mut world = sold();
    flip(&world, &snapshot("2024-03-02"), b"Gear");
    world.refuses(3, "compact item");
    world.refuses(3, "show item 2024-03-02");
    world.refuses(3, "diff item 2024-03-01 2024-03-02");
    let ended =
        world.asof("backfill sold --from 2024-03-01 --to 2024-03-03 --only all --using snapshots");
    assert_eq!(ended, 5, "the other dates are written");
    world.refuses(3, "verify");
    world.pin("damage_spreads");
}

#[test]
fn outputs_are_verified_with_what_they_were_made_from() {
    let mut world = sold();
    world.succeeds("verify sold --recompute");
    let output = "out/date=2024-03-02/sold.parquet";
    let whole = world.bytes(output);
    flip(&world, output, b"Gear");
    world.tell("one output is damaged; everything else is verified");
    world.refuses(3, "verify");
    world.tell("as outputs of a path");
    world.refuses(3, "verify out/");
    world.succeeds("verify out/date=2024-03-01/sold.parquet");
    world.tell("it is written anew");
    world.succeeds("backfill sold --from 2024-03-02 --to 2024-03-02 --only all");
    assert_eq!(world.bytes(output), whole);
    world.succeeds("verify --recompute");
    world.tell("an output of other rows under the same footer");
    let rows = std::fs::File::open(world.path(output)).unwrap();
    let rows =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(rows).unwrap();
    let footer = rows
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .cloned();
    let rows = rows.build().unwrap().next().unwrap().unwrap();
    let traded = arrow::compute::take_record_batch(
        &rows,
        &arrow::array::UInt32Array::from(vec![0; rows.num_rows()]),
    )
    .unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    writer.write(&traded).unwrap();
    let own = footer
        .into_iter()
        .flatten()
        .filter(|entry| entry.key == "asof");
    own.for_each(|entry| writer.append_key_value_metadata(entry));
    world.write(output, writer.into_inner().unwrap());
    world.succeeds("verify sold");
    world.refuses(3, "verify sold --recompute");
    world.tell("a snapshot is rewritten, and one is damaged");
    world.write(output, &whole);
    world.write("item.csv", "id,name,status,price\n1,pen,ACTIVE,9.00\n");
    world.succeeds("snapshot item --date 2024-03-01 --if-exists replace --backdate --force");
    cut(&world, &snapshot("2024-03-03"));
    world.refuses(3, "verify sold");
    world.refuses(3, "verify");
    world.succeeds("status");
    world.tell("the intervals are damaged, too, and an output");
    world.write("lake/item/intervals/item.parquet", "PAR1");
    cut(&world, "out/date=2024-03-02/sold.parquet");
    world.refuses(3, "verify");
    world.succeeds("status");
    world.refuses(3, "backfill sold --from 2024-03-01 --to 2024-03-03");
    assert_eq!(
        world.asof("backfill sold --from 2024-03-01 --to 2024-03-03 --using snapshots"),
        5
    );
    world.pin("verified_outputs");
}

#[test]
fn outputs_of_a_job_that_only_a_command_line_described_are_verified() {
    let mut world = World::shop(3);
    let job = "backfill --events item_events --table item --on item_id=id --out out \
               --from 2024-03-01 --to 2024-03-03";
    world.succeeds(job);
    world.succeeds("verify");
    let output = "out/date=2024-03-02/out.parquet";
    let whole = world.bytes(output);
    world.tell("a file that is no output does not matter, one damaged output does");
    world.write("out/README", "made by hand");
    flip(&world, output, b"Gear");
    world.refuses(3, "verify");
    world.succeeds(&format!("{job} --only all"));
    assert_eq!(world.bytes(output), whole);
    world.succeeds("verify");
    world.tell("the outputs were deleted, or the hint is damaged");
    std::fs::rename(world.path("out"), world.path("kept")).unwrap();
    world.succeeds("verify");
    std::fs::rename(world.path("kept"), world.path("out")).unwrap();
    let hints = world.listing("lake/_asof/ad_hoc");
    assert_eq!(hints.len(), 1, "one hint however often the job runs");
    cut(&world, &format!("lake/_asof/ad_hoc/{}", hints[0]));
    world.succeeds("verify");
    world.tell("the next run remembers again");
    world.succeeds(job);
    world.succeeds("verify");
    world.pin("ad_hoc_outputs");
}

#[test]
fn copies_that_were_set_aside_are_verified() {
    let mut world = nights();
    world.write("item.csv", "id,code\n1,10\n2,5\n");
    world.quietly("snapshot item --source item.csv --if-exists replace");
    world.quietly("drop item 2024-03-02");
    world.at("2024-03-04");
    world.write("item.csv", "id,code\n1,9\n1,10\n");
    world.quietly("snapshot item --source item.csv");
    world.quietly("compact item");
    world.succeeds("verify item");
    let folders = ["superseded", "_dropped", "_refused"];
    let paths = folders.map(|folder| {
        let folder = format!("lake/item/{folder}");
        let listing = world.listing(&folder);
        assert_eq!(listing.len(), 1, "{folder}");
        let name = listing[0].rsplit('/').next().expect("a name");
        world.call(name, "COPY.parquet");
        format!("{folder}/{}", listing[0])
    });
    for path in &paths {
        flip(&world, path, b"PAR1");
    }
    world.refuses(3, "verify item");
    let report = world.json("verify item");
    let problems = report["problems"].as_array().expect("problems");
    assert_eq!(problems.len(), paths.len());
    for (problem, path) in problems.iter().zip(&paths) {
        let what = problem["what"].as_str().expect("words");
        assert!(what.contains(path), "{what}");
    }
    world.tell("deleted, as it says");
    world.succeeds("prune item --superseded --refused");
    std::fs::remove_file(world.path(&paths[1])).expect("removed");
    world.succeeds("verify item");
    world.pin("damaged_aside");
}
