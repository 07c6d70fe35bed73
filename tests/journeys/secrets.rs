//! No secret is printed or recorded, whichever command is run and however it fails.

use std::fs;

use super::environment::World;

/// Marks every secret. It stands nowhere else.
const MARK: &str = "hunter2";

/// Every command that reads the configuration, with arguments that get it far.
const COMMANDS: [&str; 19] = [
    "status",
    "status item",
    "snapshot item",
    "snapshot item --date 2024-02-28",
    "check item",
    "check",
    "check --connect",
    "compact item",
    "compact item --full",
    "show item --date 2024-03-01",
    "show item --date 1999-01-01",
    "diff item 2024-03-01 2024-03-02",
    "history item 1",
    "verify item",
    "expand item --out copies --from 2024-03-01 --to 2024-03-02",
    "backfill active --from 2024-03-01 --to 2024-03-02",
    "schema item",
    "report --out page.html",
    "partitions e --from 2024-03-01 --to 2024-03-02",
];

/// Runs a command in every way to print, and looks for the mark in all that it prints and writes.
#[track_caller]
fn tells_nothing(world: &World, line: &str) {
    for options in ["-vv --json ", "-vv --log-format json "] {
        let output = world.quietly(&format!("{options}{line}"));
        for printed in [&output.stdout, &output.stderr] {
            let printed = String::from_utf8_lossy(printed);
            assert!(!printed.contains(MARK), "asof {options}{line}:\n{printed}");
        }
        assert!(
            output.status.code().is_some_and(|code| code != 101),
            "asof {options}{line} panics: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Looks for the mark in every file below a folder.
fn records_nothing(world: &World, folder: &str) {
    for name in world
        .listing(folder)
        .iter()
        .filter(|name| !name.ends_with('/'))
    {
        let bytes = fs::read(world.path(folder).join(name)).expect("a file");
        let holds = bytes
            .windows(MARK.len())
            .any(|window| window == MARK.as_bytes());
        assert!(!holds, "{folder}/{name} holds a secret");
    }
}

/// A world whose environment has keys of every service, without a server that could take them.
fn without_a_server() -> World {
    let mut world = World::shop(0);
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "AKID-hunter2"),
        ("AWS_SECRET_ACCESS_KEY", "sec/ret-hunter2"),
        ("AWS_REGION", "us-east-1"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "aHVudGVyMg-hunter2"),
        (
            "GOOGLE_SERVICE_ACCOUNT_KEY",
            "{\"private_key\": \"hunter2\"}",
        ),
        ("ASOF_LOG", "debug"),
    ] {
        world.variable(name, value);
    }
    world.write(
        "asof.toml",
        "[stores.s3]\nmax_retries = 0\nretry_timeout = '1s'\n[stores.az]\nmax_retries = \
         0\nretry_timeout = '1s'\n[tables.item]\nkey = ['id']\nsource = 'item.csv'\n",
    );
    world
}

#[test]
fn endpoints_of_the_environment() {
    for endpoint in [
        "http://user:hunter2@127.0.0.1:1",
        "http://hunter2@127.0.0.1:1/x",
        "http://127.0.0.1:1/?sig=hunter2",
        "user:hunter2@127.0.0.1:1",
        "http://user:hunter2@host:port",
        "http://user:hunter2@",
        "https://user:hunter2@[x",
    ] {
        let mut world = without_a_server();
        world.variable("AWS_ENDPOINT_URL", endpoint);
        world.variable("AZURE_STORAGE_ENDPOINT", endpoint);
        for lake in ["s3://b/lake", "az://b/lake"] {
            tells_nothing(&world, &format!("--lake {lake} status"));
            tells_nothing(&world, &format!("--lake {lake} snapshot item"));
        }
    }
}

#[test]
fn a_port_that_is_no_number_is_a_usage_error() {
    let mut world = without_a_server();
    world.variable("AWS_ENDPOINT_URL", "http://host:port");
    world.refuses(2, "--lake s3://b/lake status");
    let said = world.transcript();
    assert!(said.contains("is not a URL: invalid port number"), "{said}");
}

#[test]
fn urls_with_user_info_or_a_signature() {
    let world = without_a_server();
    for url in [
        "s3://AKID:hunter2@b/x.csv",
        "s3://AKID:hun/hunter2@b/x.csv",
        "s3:/AKID:hunter2@b/x.csv",
        "s3a://hunter2@b/x.csv",
        "gs://u:hunter2@b/x.csv",
        "abfss://u:hunter2@c@a.dfs.core.windows.net/x.csv",
        "az://c/x.csv?sv=1&sig=hunter2",
        "https://u:hunter2@host/x.csv",
        "ftp://u:hunter2@host/x.csv",
        "file://u:hunter2@host/x.csv",
    ] {
        for line in [
            "--lake lake snapshot item --source 'URL'",
            "--lake lake snapshot 'URL'",
            "--lake 'URL' status",
            "--lake 'URL' --help",
            "--lake lake expand item --out 'URL' --from 2024-03-01 --to 2024-03-01",
            "--lake lake show item --date 'URL'",
            "check 'URL'",
            "--lake lake backfill --events 'URL' --events-layout %Y --table item --on id --out \
             'URL' --from 2024-03-01 --to 2024-03-01",
            "demo 'URL'",
            "--memory 'URL' status",
            "'URL'",
        ] {
            tells_nothing(&world, &line.replace("URL", url));
        }
    }
    let mut world = world;
    world.variable("ASOF_LAKE", "s3://AKID:hunter2@b/lake");
    for line in ["status", "--help", "status --help", "man"] {
        tells_nothing(&world, line);
    }
    records_nothing(&world, "lake");
}

#[test]
fn a_copy_that_is_kept_does_not_repeat_a_url_with_a_secret() {
    let mut world = without_a_server();
    world.write("item.csv", "id\n1\n");
    world.succeeds("--lake lake snapshot item");
    for url in [
        "postgresql://u:hunter2@127.0.0.1:1/db",
        "s3://AKID:hunter2@b/x.csv",
        "az://c/x.csv?sv=1&sig=hunter2",
    ] {
        let line = format!("--lake lake snapshot item --source '{url}'");
        tells_nothing(&world, &line);
        let said = world.quietly(&line);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(!said.contains(MARK), "{said}");
        assert!(
            said.contains("kept") && said.contains("--source URL --if-exists replace"),
            "{said}"
        );
    }
}

#[test]
fn files_of_configuration_that_are_wrong() {
    let world = without_a_server();
    for text in [
        "[stores.s3]\nsecret_access_key = \"hunter2\n",
        "[stores.s3]\nsecret_access_key = \"hunter2\"\nsecret_access_key = \"hunter2\"\n",
        "[stores.s3]\nsecret_access_key = hunter2\n",
        "[stores.s3]\nallow_http = \"hunter2\"\n",
        "[stores.s3]\nmax_retries = \"hunter2\"\n",
        "[stores.s3]\nretry_timeout = \"hunter2\"\n",
        "[stores.s3]\ntimeout = \"hunter2\"\n",
        "[stores.s3]\nendpoint = \"u:hunter2@h\"\n",
        "[stores.s3]\nendpoint = \"hunter2${\"\n",
        "[stores.s3]\nproxy_url = \"http://u:hunter2@h:port\"\n",
        "[stores.az]\naccount_key = \"hunter2\"\n",
        "[stores.az]\nsas_token = \"hunter2\"\n",
        "[stores.gs]\nservice_account_key = '\"hunter2\"'\n",
        "[stores.\"s3://AKID:hunter2@b\"]\nregion = 'x'\n",
        "stores = \"hunter2\"\n",
        "lake = \"s3://AKID:hunter2@b/lake\"\n",
        "lake = \"s3://AKID:hunter2@b/lake\n",
        "[tables.item]\nkey = ['id']\nsource = \"s3://AKID:hunter2@b/x\"\n",
    ] {
        world.write("asof.toml", text);
        for lake in ["s3://b/lake", "az://b/lake", "gs://b/lake"] {
            tells_nothing(&world, &format!("--lake {lake} status"));
        }
        tells_nothing(&world, "status");
        tells_nothing(&world, "--lake lake snapshot item");
    }
}

#[test]
fn variables_of_paths() {
    let mut world = World::shop(0);
    world.variable("PW", MARK);
    world.write(
        "asof.toml",
        "lake = 'lake-${PW}'\n[tables.item]\nkey = ['id']\nsource = 'export-${PW}/*.csv'\n\
         [tables.other]\nkey = ['id']\nsnapshots = 'others-${PW}'\nlayout = '%Y-%m-%d'\n\
         [events.e]\npath = 'events-${PW}'\nlayout = 'date=%Y-%m-%d'\n[jobs.active]\nsql = \
         'select e.id from e join item on e.id = item.id'\noutput = 'out-${PW}'\n",
    );
    let fails = |world: &World| {
        for line in COMMANDS {
            for options in ["", "-vv ", "--log-format json -vv "] {
                let output = world.quietly(&format!("{options}{line}"));
                let printed = String::from_utf8_lossy(&output.stderr);
                assert!(!printed.contains(MARK), "asof {options}{line}:\n{printed}");
            }
        }
    };
    fails(&world);
    world.write("export-hunter2/i.csv", "id,name\n1,a,b\n");
    fails(&world);
    world.write("export-hunter2/i.csv", "id,name\n1,a\n1,b\n");
    fails(&world);
    world.write("export-hunter2/i.csv", "id,name\n1,a\n2,b\n");
    world.write("others-hunter2/2024-03-01/i.parquet", "PAR1PAR1");
    world.write("events-hunter2/date=2024-03-01/e.csv", "id\n1\n");
    world.write("events-hunter2/date=2024-03-02/e.parquet", "PAR1PAR1");
    fails(&world);
    world.write(
        "lake-hunter2/item/snapshots/snapshot_date=2024-03-01/item.parquet",
        "PAR1PAR1",
    );
    fails(&world);
    for folder in ["lake-hunter2", "out-hunter2"] {
        records_nothing(&world, folder);
    }
}

#[test]
fn credentials_in_paths_are_concealed_in_results_too() {
    let mut world = World::shop(0);
    world.variable("SHARE_TOKEN", MARK);
    world.variable("REGION", "region-north");
    world.write(
        "asof.toml",
        "lake = 'lake-${SHARE_TOKEN}'\n[tables.item]\nkey = ['id']\nsource = \
         'export-${SHARE_TOKEN}/*.csv'\n[tables.other]\nkey = ['id']\nsnapshots = \
         'others-${SHARE_TOKEN}'\nlayout = '%Y-%m-%d'\n\
         [events.e]\npath = '${SHARE_TOKEN}/${REGION}'\nlayout = 'date=%Y-%m-%d'\n\
         [jobs.active]\nsql = 'select e.id from e join item on e.id = item.id'\n\
         output = '${REGION}/out-${SHARE_TOKEN}'\n",
    );
    let is_concealed = |world: &World| {
        for line in COMMANDS {
            tells_nothing(world, line);
            let printed = world.quietly(line).stdout;
            let printed = String::from_utf8_lossy(&printed);
            assert!(!printed.contains(MARK), "asof {line}:\n{printed}");
        }
    };
    is_concealed(&world);
    world.write("export-hunter2/i.csv", "id,name\n1,a\n2,b\n");
    world.write("others-hunter2/2024-03-01/i.csv", "id\n1\n");
    world.write("hunter2/region-north/date=2024-03-01/e.csv", "id\n1\n");
    world.succeeds("snapshot item");
    is_concealed(&world);
    let report = world.json("backfill active --from 2024-03-01 --to 2024-03-01");
    let output = report[0]["output"].as_str().expect("a path");
    assert!(
        output.ends_with("region-north/out-${SHARE_TOKEN}"),
        "{output}"
    );
    records_nothing(&world, "lake-hunter2");
    records_nothing(&world, "region-north/out-hunter2");
}
