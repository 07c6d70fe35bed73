//! CSV as other programs write it: declared dialects, detected ones, encodings and compressions.

use std::io::Write as _;

use super::environment::{World, text};

fn world() -> World {
    let mut world = World::new();
    world.variable("ASOF_LAKE", "lake");
    world.at("2024-03-31");
    world
}

/// Takes a snapshot of the 31st, whatever there was before, and returns its rows.
#[track_caller]
fn rows(world: &World, source: &str, flags: &str) -> Vec<String> {
    let _ = std::fs::remove_dir_all(world.path("lake"));
    let output = world.quietly(&format!("snapshot t --source {source} --key id {flags}"));
    assert_eq!(
        output.status.code(),
        Some(0),
        "{source} {flags}: {}",
        text(&output.stderr)
    );
    world.rows("lake/t/snapshots/snapshot_date=2024-03-31/t.parquet")
}

fn utf16(text: &str) -> Vec<u8> {
    [0xfeff]
        .into_iter()
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect()
}

#[test]
fn a_dialect_is_declared_in_flags_or_in_the_configuration() {
    let mut world = world();
    let german = "Artikelliste\r\n# Stand 31.01.2024\r\nid;name;preis;menge;seit;zuletzt\r\n1;St\u{fc}ck;1.234,50;1.000;31.01.2024;31.01.2024 10:05\r\n2; \u{20ac} ;-;7;-;-\r\n";
    let bytes: Vec<u8> = german
        .chars()
        .map(|c| {
            if c == '\u{20ac}' {
                0x80
            } else {
                u8::try_from(u32::from(c)).unwrap()
            }
        })
        .collect();
    world.write("german.csv", bytes);
    let flags = "--csv 'delimiter=;,decimal=,,thousands=.,encoding=windows-1252,skip=1,comment=#' \
     --csv 'null=-,trim=true,date_format=%d.%m.%Y,timestamp_format=%d.%m.%Y %H:%M'";
    let expected = [
        "id|name|preis|menge|seit|zuletzt",
        "1|St\u{fc}ck|1234.5|1000|2024-01-31|2024-01-31T10:05:00",
        "2|\u{20ac}|null|7|null|null",
    ];
    assert_eq!(rows(&world, "german.csv", flags), expected);
    world.write(
        "asof.toml",
        "[tables.t.csv]\ndelimiter = ';'\ndecimal = ','\nthousands = '.'\nencoding = \
         'cp1252'\nskip = 1\ncomment = '#'\nnull = ['-']\n\
         trim = true\ndate_format = '%d.%m.%Y'\ntimestamp_format = '%d.%m.%Y %H:%M'\n",
    );
    assert_eq!(rows(&world, "german.csv", ""), expected);
    world.write("other.csv", "id|a\n1|x\n");
    assert_eq!(
        rows(&world, "other.csv", "--csv 'delimiter=|,skip=0'"),
        ["id|a", "1|x"],
        "a flag overrules the configuration"
    );
    world.tell("an error has the value as the file has it");
    world.write("german.csv", "\nid;preis\n1;1.234,50\n2;1,234.50\n");
    world.refuses(
        3,
        "snapshot t --source german.csv --key id --date 2024-03-30 --backdate \
         --types preis=float64",
    );
    world.tell("settings that no file can be read with");
    for settings in [
        "delimeter=;",
        "delimiter=;;",
        "encoding=klingon",
        "header=false",
        "date_format=%d.%m",
        "thousands=.",
    ] {
        world.refuses(
            2,
            &format!("snapshot t --source german.csv --key id --csv '{settings}'"),
        );
    }
    world.write("asof.toml", "[tables.t.csv]\ndelimeter = ';'\n");
    world.refuses(2, "snapshot t --source german.csv --key id");
    world.pin("dialects_declared");
}

#[test]
fn what_cannot_be_mistaken_is_detected_and_told() {
    let mut world = world();
    world.write("semicolon.csv", "id;price\n1;1,5\n");
    world.write("tab.csv", "id\tname\n1\ta,b\n");
    world.write("excel.csv", utf16("id\tname\r\n1\t\u{e9}\u{1f600}\r\n"));
    world.write("mark.csv", "\u{feff}id,name\n1,x\n");
    world.write("json.ndjson", utf16("{\"id\": 1, \"name\": \"\u{e9}\"}\n"));
    for (number, source) in [
        "semicolon.csv",
        "tab.csv",
        "excel.csv",
        "mark.csv",
        "json.ndjson",
    ]
    .iter()
    .enumerate()
    {
        world.succeeds(&format!("snapshot t{number} --source {source} --key id"));
    }
    let snapshot = |number: usize| {
        world.rows(&format!(
            "lake/t{number}/snapshots/snapshot_date=2024-03-31/t{number}.parquet"
        ))
    };
    assert_eq!(snapshot(0), ["id|price", "1|1,5"]);
    assert_eq!(snapshot(1), ["id|name", "1|a,b"]);
    assert_eq!(snapshot(2), ["id|name", "1|\u{e9}\u{1f600}"]);
    assert_eq!(snapshot(3), ["id|name", "1|x"]);
    assert_eq!(snapshot(4), ["id|name", "1|\u{e9}"]);
    let report = world.json("snapshot t5 --source excel.csv --key id");
    let expected = serde_json::json!([{ "encoding": "UTF-16LE", "delimiter": "\t", "detected": ["encoding", "delimiter"] }]);
    assert_eq!(report[0]["detected"], expected);
    world.tell(
        "a comma in the header, or a row that has other fields: fields are separated by commas",
    );
    world.write("odd.csv", "id;name\n1\n");
    world.refuses(2, "snapshot t6 --source odd.csv --key id");
    world.pin("dialects_detected");
}

#[test]
fn quotes_are_escaped_as_declared_or_refused() {
    let mut world = world();
    for (written, flags, value) in [
        (r#"1,"a \"b\" c""#, r"'escape=\'", r#"a "b" c"#),
        (r#"1,"a,\"b\\""#, r"'escape=\'", r#"a,"b\"#),
        (r"1,C:\dir", r"'escape=\'", r"C:\dir"),
        (r#"1,"a ""b"" c""#, r"'escape=\'", ""),
        (r#"1,"C:\dir""#, r"'escape=\'", ""),
        (r#"1,a\"b"#, r"'escape=\'", ""),
        (r"1,a\\b", r"'escape=\'", ""),
        ("1,'a,''b'''", r#""quote='""#, "a,'b'"),
        ("1,\"a", "quote=", "\"a"),
        ("1, \"a\"", "trim=true", ""),
    ] {
        world.write("x.csv", format!("id,a\n{written}\n"));
        if value.is_empty() {
            world.refuses(
                3,
                &format!(
                    "snapshot t --source x.csv --key id --csv {flags} --date 2024-03-30 --backdate"
                ),
            );
        } else {
            assert_eq!(
                rows(&world, "x.csv", &format!("--csv {flags}")),
                ["id|a".to_owned(), format!("1|{value}")],
                "{written}"
            );
        }
    }
    world.tell("the hint names the setting that reads it");
    world.write("x.csv", "id,a\n1,\"a \\\"b\\\" c\"\n");
    world.refuses(
        3,
        "snapshot t --source x.csv --key id --date 2024-03-30 --backdate",
    );
    world.pin("dialects_quotes");
}

#[test]
fn headers_and_short_rows() {
    let mut world = world();
    world.write("bare.csv", "1;x\n2;y\n");
    assert_eq!(
        rows(&world, "bare.csv", "--csv header=false,columns=id,name"),
        ["id|name", "1|x", "2|y"]
    );
    world.write("ragged.csv", "id,a,b\n1\n2,x\n3,x,y\n");
    assert_eq!(
        rows(&world, "ragged.csv", "--csv ragged=fill"),
        ["id|a|b", "1|null|null", "2|x|null", "3|x|y"]
    );
    world.refuses(
        3,
        "snapshot t --source ragged.csv --key id --date 2024-03-30 --backdate",
    );
    world.write("ragged.csv", "id,a\n1,x,y\n");
    world.refuses(
        3,
        "snapshot t --source ragged.csv --key id --date 2024-03-30 --backdate --csv ragged=fill",
    );
    world.write("nulls.csv", "id,a,n\n1,NA,\\N\n2,,5\n");
    assert_eq!(
        rows(&world, "nulls.csv", r"--csv 'null=NA,\N'"),
        ["id|a|n", "1|null|null", "2||5"],
        "an empty text is text then"
    );
    world.tell("bytes that the encoding does not have, with their line");
    world.write("wrong.csv", b"id,a\n1,x\n2,\x81\n");
    world.refuses(
        3,
        "snapshot t --source wrong.csv --key id --date 2024-03-30 --backdate --csv \
         encoding=windows-1252",
    );
    world.refuses(
        3,
        "snapshot t --source wrong.csv --key id --date 2024-03-30 --backdate",
    );
    world.write("unmarked.csv", &utf16("id,a\n1,x\n")[2..]);
    world.refuses(
        3,
        "snapshot t --source unmarked.csv --key id --date 2024-03-30 --backdate",
    );
    assert_eq!(
        rows(&world, "unmarked.csv", "--csv encoding=utf-16le"),
        ["id|a", "1|x"]
    );
    world.pin("dialects_rows");
}

#[test]
fn another_dialect_makes_outputs_and_intervals_stale() {
    let mut world = world();
    world.write("copies/2024-03-01.csv", "id;p\n1;1,500\n");
    world.write(
        "asof.toml",
        "[tables.t]\nsnapshots = 'copies'\nlayout = '%Y-%m-%d.csv'\nkey = \
         ['id']\n[tables.t.csv]\nthousands = ','\n",
    );
    world.succeeds("compact t");
    assert_eq!(
        world.column_type("lake/t/intervals/t.parquet", "p"),
        "Int64"
    );
    world.write("events/date=2024-03-01/e.csv", "e;id;q\n1;1;2,5\n");
    let job = "backfill --events events --events-layout date=%Y-%m-%d --table t --on id --from \
     2024-03-01 --to 2024-03-01 --out out";
    world.succeeds(job);
    assert_eq!(
        world.rows("out/date=2024-03-01/out.parquet"),
        ["e|id|q|p", "1|1|2,5|1500"]
    );
    world.tell("the dialect is part of the job");
    world.succeeds(&format!("{job} --csv decimal=,"));
    assert_eq!(
        world.rows("out/date=2024-03-01/out.parquet"),
        ["e|id|q|p", "1|1|2.5|1500"]
    );
    world.succeeds(&format!("{job} --csv decimal=,"));
    world.tell("and of what the fingerprints of external copies are remembered for");
    world.write(
        "asof.toml",
        "[tables.t]\nsnapshots = 'copies'\nlayout = '%Y-%m-%d.csv'\nkey = \
         ['id']\ncsv = { decimal = ',' }\n",
    );
    world.succeeds("compact t");
    assert_eq!(
        world.rows("lake/t/intervals/t.parquet")[1],
        "1|1.5|2024-03-01|9999-12-31"
    );
    world.pin("dialects_stale");
}

fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Archives that Python writes: `name`, its files, and how they are compressed.
fn archives(world: &World) {
    let python = std::env::var("ASOF_TEST_PYTHON")
        .expect("ASOF_TEST_PYTHON is not set: run the tests with tests/run");
    let script = "
import bz2, lzma, zipfile
text = b'id,a\\n1,x\\n'
many = b'id,a\\n' + b''.join(b'%d,%d\\n' % (n, n * 7919 % 10007) for n in range(200000))
open('t.csv.bz2', 'wb').write(bz2.compress(b'id,a\\n') + bz2.compress(b'1,x\\n'))
open('t.csv.xz', 'wb').write(lzma.compress(b'id,a\\n') + lzma.compress(b'1,x\\n'))
open('many.csv.xz', 'wb').write(lzma.compress(many, preset=9))
open('many.csv.bz2', 'wb').write(bz2.compress(many))
for name, method in [('deflated', zipfile.ZIP_DEFLATED), ('bzipped', zipfile.ZIP_BZIP2)]:
    with zipfile.ZipFile(name + '.zip', 'w', method) as archive:
        archive.writestr('folder/t.csv', text)
        archive.writestr('__MACOSX/._t.csv', b'junk')
with zipfile.ZipFile('many.csv.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('many.csv', many)
";
    let output = world
        .prepared(&python, &["-c".to_owned(), script.to_owned()])
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn text_is_decompressed_and_an_archive_holds_one_file() {
    let mut world = world();
    archives(&world);
    world.write("stored.csv.zip", zip(&[("t.csv", "id,a\n1,x\n")]));
    for source in ["t.csv.bz2", "t.csv.xz", "stored.csv.zip", "deflated.zip"] {
        assert_eq!(rows(&world, source, ""), ["id|a", "1|x"], "{source}");
    }
    let many = rows(&world, "many.csv.zip", "");
    assert_eq!(many.len(), 200_001);
    assert_eq!(
        (
            rows(&world, "many.csv.bz2", ""),
            rows(&world, "many.csv.xz", "")
        ),
        (many.clone(), many)
    );
    world.write(
        "two.zip",
        zip(&[("a.csv", "id\n1\n"), ("b.csv", "id\n2\n")]),
    );
    world.write("none.csv.zip", zip(&[]));
    let mut damaged = zip(&[("t.csv", "id,a\n1,x\n")]);
    let at = damaged
        .windows(3)
        .position(|bytes| bytes == b"1,x")
        .unwrap();
    damaged[at] = b'7';
    world.write("damaged.csv.zip", damaged);
    for name in ["many.csv.bz2", "many.csv.xz", "many.csv.zip"] {
        let bytes = world.bytes(name);
        world.write(&format!("cut.{name}"), &bytes[..bytes.len() / 2]);
    }
    for source in [
        "two.zip",
        "none.csv.zip",
        "damaged.csv.zip",
        "bzipped.zip",
        "cut.many.csv.bz2",
        "cut.many.csv.xz",
        "cut.many.csv.zip",
    ] {
        world.refuses(
            3,
            &format!("snapshot t --source {source} --key id --date 2024-03-30 --backdate"),
        );
    }
    world.pin("dialects_compressed");
}
