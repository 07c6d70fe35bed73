//! What keeps a wrong copy from being published.

use super::environment::World;

fn guarded(guards: &str) -> World {
    let world = World::shop(0);
    world.write(
        "asof.toml",
        format!("lake = 'lake'\n[tables.item]\nsource = 'item.csv'\nkey = ['id']\n{guards}\n"),
    );
    world
}

#[test]
fn guards_refuse_and_force_overrides_them_and_is_recorded() {
    let mut world =
        guarded("min_rows = 2\nmax_delete = '20%'\nmax_change = '50%'\nschema = 'freeze'");
    world.write("item.csv", "id,v\n1,a\n");
    world.refuses(3, "snapshot item");
    world.write("item.csv", "id,v\n1,a\n2,b\n3,c\n4,d\n");
    world.succeeds("snapshot item");
    world.at("2024-03-02");
    world.tell("an empty source");
    world.write("item.csv", "id,v\n");
    world.refuses(3, "snapshot item");
    world.tell("half of the rows are gone");
    world.write("item.csv", "id,v\n1,a\n2,b\n");
    world.refuses(3, "snapshot item");
    world.tell("most of the rows changed");
    world.write("item.csv", "id,v\n1,x\n2,x\n3,x\n4,d\n");
    world.refuses(3, "snapshot item");
    world.tell("a column is new");
    world.write("item.csv", "id,v,w\n1,a,1\n2,b,1\n3,c,1\n4,d,1\n");
    world.refuses(3, "snapshot item");
    world.tell("all of it, and meant");
    world.write("item.csv", "id,w\n1,1\n");
    world.refuses(3, "snapshot item --dry-run");
    world.refuses(3, "snapshot item");
    world.succeeds("snapshot item --force");
    assert!(
        world.footer("lake/item/snapshots/snapshot_date=2024-03-02/item.parquet")["forced"]
            .is_array()
    );
    world.succeeds("verify item");
    world.pin("guards");
}

#[test]
fn a_replacement_is_compared_with_the_copy_that_it_replaces() {
    let mut world = guarded("max_delete = '20%'\nmax_change = '50%'");
    let rows =
        |count: u32| (1..=count).fold("id,v\n".to_owned(), |text, id| text + &format!("{id},a\n"));
    world.write("item.csv", rows(10));
    world.succeeds("snapshot item");
    world.at("2024-03-02");
    world.write("item.csv", rows(20));
    world.succeeds("snapshot item");
    world.tell("half of the rows that it adds are gone again: none of those before is");
    world.write("item.csv", rows(15));
    world.refuses(3, "snapshot item --if-exists replace --dry-run");
    world.refuses(3, "snapshot item --if-exists replace");
    world.succeeds("snapshot item --publish 2024-03-02 --force --if-exists replace");
    world.tell("no row of it is another one");
    world.succeeds("snapshot item --if-exists replace");
    world.tell("one row has changed, and one is new");
    world.write(
        "item.csv",
        rows(16).replace("16,a", "16,b").replace("15,a", "15,b"),
    );
    world.succeeds("snapshot item --if-exists replace --dry-run");
    world.succeeds("snapshot item --if-exists replace");
    let report = world.json("snapshot item --if-exists replace --dry-run");
    assert_eq!(report[0]["since_replaced"]["rows"], 16, "{report}");
    world.tell("a replacement that has another type, or takes the place of a damaged copy");
    world.write("item.csv", rows(16).replace(",a", ",1").replace(",b", ",1"));
    world.succeeds("snapshot item --if-exists replace --force");
    let object = "lake/item/snapshots/snapshot_date=2024-03-02/item.parquet";
    world.write(object, &world.bytes(object)[..200]);
    world.succeeds("snapshot item --if-exists replace --force");
    world.succeeds("verify item");
    world.pin("guards_of_replacements");
}

#[test]
fn a_loss_against_the_copy_that_is_replaced_is_published_with_a_warning() {
    let mut world = guarded("");
    let rows =
        |count: u32| (1..=count).fold("id,v\n".to_owned(), |text, id| text + &format!("{id},a\n"));
    world.write("item.csv", rows(50));
    world.succeeds("snapshot item");
    world.write("item.csv", rows(4));
    world.succeeds("snapshot item --if-exists replace");
    world.pin("guards_missing_of_replacements");
}

#[test]
fn a_snapshot_that_is_kept_tells_whether_its_source_was_written_to_since() {
    let mut world = guarded("");
    world.write("item.csv", "id,v\n1,a\n");
    world.succeeds("snapshot item");
    world.succeeds("snapshot item");
    assert_eq!(
        world.json("snapshot item")[0]["source_since"],
        "not_written"
    );
    world.tell("the source is written to");
    std::thread::sleep(std::time::Duration::from_millis(20));
    world.write("item.csv", "id,v\n1,b\n");
    world.succeeds("snapshot item");
    world.succeeds("snapshot item --if-exists replace --dry-run");
    assert_eq!(world.json("snapshot item")[0]["source_since"], "written");
    world.tell("a source that does not tell");
    world.succeeds("snapshot item --source - --source-format csv");
    assert_eq!(
        world.json("snapshot item --source nowhere.csv")[0]["source_since"],
        "unknown"
    );
    world.tell("of a past date nothing is said: the source has another state by now");
    world.at("2024-03-02");
    world.succeeds("snapshot item --date 2024-03-01");
    world.succeeds("snapshot item --date 2024-03-01 --backdate");
    world.pin("kept");
}

#[test]
fn a_guard_of_one_table_stops_no_other() {
    let mut world = World::new();
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.a]\nsource = 'a.csv'\nkey = \
         ['id']\n[tables.b]\nsource = 'b.csv'\nkey = ['id']\n",
    );
    world.write("a.csv", "id\n");
    world.write("b.csv", "id\n1\n");
    assert_eq!(world.asof("snapshot"), 5);
    assert_eq!(
        world.listing("lake"),
        [
            "a/_refused/snapshot_date=2024-03-01/a.parquet",
            "b/snapshots/snapshot_date=2024-03-01/b.parquet"
        ]
    );
    world.write("a.csv", "id\n1\n");
    world.succeeds("snapshot");
    world.pin("guard_of_one_table");
}

#[test]
fn a_loss_of_most_rows_that_no_guard_limits_is_published_with_a_warning() {
    let mut world = guarded("");
    let rows =
        |count: u32| (1..=count).fold("id,v\n".to_owned(), |text, id| text + &format!("{id},a\n"));
    world.write("item.csv", rows(50));
    world.succeeds("snapshot item");
    world.at("2024-03-02");
    world.write("item.csv", rows(4));
    world.succeeds("snapshot item --dry-run");
    let report = world.json("snapshot item --dry-run");
    assert_eq!(
        report[0]["unguarded"],
        serde_json::json!([
            "46 of 50 rows (92%) are gone; max_delete = \"20%\" would refuse such a snapshot"
        ]),
        "{report}"
    );
    world.tell("the guard that the warning names");
    let guarded = guarded("max_delete = \"20%\"");
    world.write(
        "asof.toml",
        std::fs::read(guarded.path("asof.toml")).expect("read"),
    );
    world.refuses(3, "snapshot item");
    world.pin("guards_missing");
}

/// A table whose columns have guards, with a copy of the first night.
fn guarded_columns(guards: &str, first: &str) -> World {
    let world = World::new();
    world.write(
        "asof.toml",
        format!("lake = 'lake'\n[tables.item]\nsource = 'item.csv'\nkey = ['id']\n{guards}"),
    );
    world.write("item.csv", first);
    world
}

#[test]
fn guards_of_columns_refuse_and_show_a_value_and_its_place() {
    let mut world = guarded_columns(
        "columns.status = { max_null = '25%', accepted = ['ACTIVE', 'PASSIVE'] }\n\
         columns.email = { unique = true, max_null = 0 }\ncolumns.seen = { max_age = '2d' }\n",
        "id,status,email,seen\n1,ACTIVE,a@b.c,2024-02-28\n2,,b@b.c,2024-02-20\n\
         3,PASSIVE,c@b.c,\n4,ACTIVE,d@b.c,2024-02-01\n",
    );
    world.succeeds("snapshot item");
    world.at("2024-03-02");
    world.tell("nulls, a value that is not accepted, two duplicates, and nothing new");
    world.write(
        "item.csv",
        "id,status,email,seen\n1,ACTIV,a@b.c,2024-02-28\n2,,b@b.c,2024-02-20\n\
         3,,a@b.c,\n4,Active,b@b.c,2024-02-01\n5,ACTIVE,,\n",
    );
    world.refuses(3, "snapshot item --dry-run");
    world.refuses(3, "snapshot item");
    world.succeeds("status item");
    world.tell("a column is gone, and somebody means it");
    world.write("item.csv", "id,status,email\n1,ACTIVE,a@b.c\n");
    world.refuses(3, "snapshot item");
    world.succeeds("snapshot item --force");
    let footer = world.footer("lake/item/snapshots/snapshot_date=2024-03-02/item.parquet");
    assert_eq!(
        footer["forced"][0],
        "column 'seen' is gone, and it has guards"
    );
    world.pin("guards_of_columns");
}

#[test]
fn guards_that_cannot_apply_are_mistakes_of_the_configuration() {
    let rows = "id,status,n,price\n1,A,1,1.5\n2,B,2,2.5\n";
    let mut world = guarded_columns("", rows);
    for (what, guards) in [
        (
            "a name that is nearly one",
            "columns.statsu = { max_null = '5%' }",
        ),
        ("a name that is none", "columns.x = { unique = true }"),
        ("a negative number", "columns.status = { max_null = -1 }"),
        ("no share", "columns.status = { max_null = '5' }"),
        ("no list", "columns.status = { accepted = 'A' }"),
        (
            "a value of another type",
            "columns.n = { accepted = [1, 'x'] }",
        ),
        (
            "a number in a column of text",
            "columns.status = { accepted = ['A', 1] }",
        ),
        ("no time", "columns.n = { max_age = '2d' }"),
        ("no duration", "columns.n = { max_age = '2 days' }"),
        ("no guard", "columns.n = {}"),
        ("an unknown guard", "columns.n = { max_nulls = 1 }"),
        ("no number of days", "max_unchanged = 7"),
        ("no program", "on_refused = ''"),
    ] {
        world.tell(what);
        let fresh = guarded_columns(&format!("{guards}\n"), rows);
        world.write("asof.toml", fresh.bytes("asof.toml"));
        world.refuses(2, "snapshot item");
    }
    world.tell("copies of another tool");
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsnapshots = 'copies'\nlayout = '%Y-%m-%d'\n\
         columns.id = { unique = true }\n",
    );
    world.refuses(2, "compact item");
    world.pin("guards_of_columns_wrong");
}

#[test]
fn accepted_values_and_ages_are_those_of_the_type_of_the_column() {
    let mut world = guarded_columns(
        "types = { price = 'decimal(10, 2)', code = 'text' }\n\
         columns.price = { accepted = [1.2, '3.50'] }\ncolumns.code = { accepted = ['007'] }\n\
         columns.day = { accepted = [2024-02-29, '2024-03-01'], max_age = '0d' }\n\
         columns.at = { max_age = '6h' }\ncolumns.ok = { accepted = [true] }\n",
        "id,price,code,day,at,ok\n1,1.20,007,2024-02-29,2024-02-29T20:30:00Z,true\n\
         2,3.5,007,2024-03-01,2024-02-01T00:00:00Z,\n",
    );
    world.succeeds("snapshot item");
    world.at("2024-03-02");
    world.write(
        "item.csv",
        "id,price,code,day,at,ok\n1,1.21,7,2024-02-29,2024-03-01T19:59:59Z,false\n\
         2,3.5,007,2024-03-01,,true\n",
    );
    world.refuses(3, "snapshot item");
    world.tell("the state of a past day is compared with the end of that day");
    world.write(
        "item.csv",
        "id,price,code,day,at,ok\n1,1.2,007,2024-03-01,2024-03-01T18:00:00Z,true\n",
    );
    world.at("2024-04-01");
    world.succeeds("snapshot item --date 2024-03-01 --backdate --if-exists replace");
    world.refuses(3, "snapshot item --date 2024-03-02 --backdate");
    world.tell("a refused copy is compared with the time when it was read");
    world.refuses(3, "snapshot item --publish 2024-03-02");
    world.pin("guards_of_types");
}

#[test]
fn rows_that_do_not_change_for_too_long_are_refused() {
    let mut world = guarded_columns("max_unchanged = '3d'\n", "id,v\n1,a\n2,b\n");
    for day in [1, 2, 4] {
        world.at(&format!("2024-03-0{day}"));
        world.succeeds("snapshot item");
    }
    world.tell("the rows are in another order, and the same");
    world.write("item.csv", "id,v\n2,b\n1,a\n");
    world.at("2024-03-05");
    world.refuses(3, "snapshot item");
    world.tell("one changes");
    world.write("item.csv", "id,v\n2,b\n1,x\n");
    world.succeeds("snapshot item");
    for day in [6, 8] {
        world.at(&format!("2024-03-0{day}"));
        world.succeeds("snapshot item");
    }
    world.at("2024-03-09");
    world.refuses(3, "snapshot item");
    world.succeeds("snapshot item --publish 2024-03-09 --force");
    world.at("2024-03-10");
    world.refuses(3, "snapshot item");
    world.pin("guards_unchanged");
}

#[test]
fn duplicates_are_found_in_little_memory() {
    let mut world = guarded_columns(
        "columns.serial = { unique = true }\n",
        "id,serial\n1,x\n2,\n3,\n",
    );
    world.succeeds("snapshot item");
    world.at("2024-03-02");
    let mut rows = "id,serial\n".to_owned();
    let text = "a long text that is no duplicate ".repeat(4);
    for id in 0..200_000_u32 {
        // Each number but one occurs once, in no order.
        let number = if id == 150_000 { 77 } else { id };
        let serial = u64::from(number) * 7_919 % 1_000_003;
        rows += &format!("{id},{text}{serial:07}\n");
    }
    world.write("item.csv", rows);
    world.refuses(3, "--memory 64MiB snapshot item");
    world.pin("guards_unique");
}

#[test]
fn a_refused_copy_is_told_to_a_program() {
    let mut world = guarded_columns(
        "min_rows = 1\ncolumns.status = { accepted = ['A'] }\n\
         on_refused = 'cat > told.json; echo $ASOF_TABLE $ASOF_DATE > about.txt'\n",
        "id,status\n1,A\n",
    );
    world.succeeds("snapshot item");
    world.at("2024-03-02");
    world.write("item.csv", "id,status\n1,A\n2,B\n");
    assert_eq!(world.asof("snapshot item"), 3);
    let told: serde_json::Value =
        serde_json::from_slice(&world.bytes("told.json")).expect("a document");
    assert_eq!(world.bytes("about.txt"), b"item 2024-03-02\n");
    world.tell(&format!(
        "told.json:\n{}",
        serde_json::to_string_pretty(&told).expect("JSON")
    ));
    std::fs::remove_file(world.path("told.json")).expect("it was told");
    world.tell("a dry run and a person who publishes are not");
    world.refuses(3, "snapshot item --dry-run");
    world.refuses(3, "snapshot item --publish 2024-03-02");
    world.tell("what is refused while it is read");
    world.write("item.csv", "id,status\n1,A\n2,A,x\n");
    assert_eq!(world.asof("snapshot item"), 3);
    let told: serde_json::Value =
        serde_json::from_slice(&world.bytes("told.json")).expect("a document");
    assert_eq!(told["guards"], serde_json::json!([]));
    assert_eq!(told["rows"], serde_json::Value::Null);
    assert!(
        told["message"]
            .as_str()
            .unwrap()
            .contains("expected 2 fields")
    );
    world.pin("guards_on_refused");
}

#[test]
fn a_program_that_fails_leaves_the_exit_code_as_it_is() {
    let mut world = guarded_columns("", "id\n");
    for (what, hook) in [
        (
            "it fails",
            "'echo one; echo two >&2; echo three >&2; exit 7'",
        ),
        ("it does not read", "['true']"),
        ("it is not there", "['./no-such-program']"),
    ] {
        world.tell(what);
        world.write(
            "asof.toml",
            format!("lake = 'lake'\non_refused = {hook}\n[tables.item]\nsource = 'item.csv'\nkey = ['id']\n"),
        );
        world.refuses(3, "snapshot item");
    }
    world.pin("guards_on_refused_fails");
}
