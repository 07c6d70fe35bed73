//! Files of every format, read by the rules of types.

use std::io::Write;

use arrow::array::ArrayRef;

use super::testing::{file, lines, read_all, typed_file};
use super::*;
use crate::domain::type_names::type_name;
use crate::storage::lake::location::Location;

fn read_text(name: &str, text: &str, rules: &TypeRules) -> Result<(Vec<String>, Vec<String>)> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("written");
    let rows = read_all(&[file(&path)], rules, Some("the file"))?;
    let types = rows
        .schema
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), type_name(field.data_type())))
        .collect();
    let mut shown = Vec::new();
    for batch in rows.batches {
        shown.extend(lines(&batch?));
    }
    Ok((types, shown))
}

fn pinned(columns: &[(&str, DataType)]) -> TypeRules {
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, data_type)| arrow::datatypes::Field::new(*name, data_type.clone(), true))
        .collect();
    TypeRules {
        pinned: Some(std::sync::Arc::new(Schema::new(fields))),
        ..TypeRules::default()
    }
}

#[test]
fn all_processors_read_what_one_reads() {
    let many = |line: &dyn Fn(usize) -> String| (0..20_000).map(line).collect::<String>();
    let csv = many(&|id| {
        format!(
            "{id},\"a, {id}\n\",{}.5,2024-01-{:02}\n",
            id % 7,
            id % 28 + 1
        )
    });
    let lines = many(&|id| format!("{{\"id\":{id},\"x\":{{\"y\":[{id}.0]}}}}\n\n"));
    let array = format!("[{}{{}}]", many(&|id| format!("{{\"id\":{id}}},\n")));
    let texts = [
        ("x.csv", format!("id,name,x,day\n{csv}")),
        (
            "x.csv",
            format!("id,name,x,day\n{csv}7,a,oops,2024-02-30\n"),
        ),
        ("x.ndjson", lines.clone()),
        ("x.ndjson", format!("{lines}{{\"id\":\"z\"}}")),
        (
            "x.ndjson",
            format!("{lines}{{\"id\":1}}{{\"id\":2}}\n{{\n\"z\":1}}"),
        ),
        ("x.ndjson", format!("{lines}{{\"id\":1,\"id\":2}}")),
        ("x.ndjson", format!("{lines}{{\"id\":01}}")),
        ("x.ndjson", array),
    ];
    for (name, text) in texts {
        let alone = TypeRules {
            is_alone: true,
            ..TypeRules::default()
        };
        let [one, all] = [TypeRules::default(), alone]
            .map(|rules| read_text(name, &text, &rules).map_err(|error| error.to_string()));
        assert!(one == all, "{name}: {:?}", one.err().or(all.err()));
    }
}

#[test]
fn csv_types_are_what_all_values_agree_on() {
    let text = "id,code,price,ok,day,at,zoned,empty\n1,007,450.0,true,2024-01-31,2024-01-31 \
         10:00:00,2024-01-31T10:00:00Z,\n-2,8,3,False,1999-12-31,2024-01-31T10:00:00.5,2024-01-31T10:00:00+01:00,\n";
    let (types, lines) = read_text("x.csv", text, &TypeRules::default()).expect("it reads");
    assert_eq!(
        types,
        [
            "id int64",
            "code text",
            "price float64",
            "ok bool",
            "day date",
            "at timestamp(us)",
            "zoned timestamp(us, UTC)",
            "empty null"
        ]
    );
    assert_eq!(
        lines[1],
        "-2|8|3.0|false|1999-12-31|2024-01-31T10:00:00.500|2024-01-31T09:00:00Z|"
    );
}

#[test]
fn a_code_stays_text_if_it_was_text_and_a_float_stays_a_float() {
    let rules = pinned(&[
        ("code", DataType::Utf8),
        ("price", DataType::Float64),
        ("n", DataType::Int64),
    ]);
    let (types, lines) = read_text("x.csv", "code,price,n\n7,450,70\n", &rules).expect("it reads");
    assert_eq!(
        (types, lines),
        (
            vec!["code text".into(), "price float64".into(), "n int64".into()],
            vec!["7|450.0|70".into()]
        )
    );
}

#[test]
fn an_integer_column_may_become_a_float_and_no_text() {
    let rules = pinned(&[("n", DataType::Int64)]);
    assert_eq!(
        read_text("x.csv", "n\n1.5\n", &rules).expect("it widens").0,
        ["n float64"]
    );
    let error = read_text("x.csv", "n\n1\nA7\n", &rules).expect_err("text");
    assert_eq!(
        error.to_string(),
        "the file, line 3: column 'n' was int64 in the previous copy, and 'A7' is not a valid \
             int64"
    );
    assert_eq!(error.kind(), crate::error::Kind::Refused);
    // No float holds the number in line 2, so the fraction is to blame.
    let long = read_text("x.csv", "n\n9007199254740993\n2.0\n", &rules).expect_err("a fraction");
    assert_eq!(
        long.to_string(),
        "the file, line 3: column 'n' was int64 in the previous copy, and '2.0' is not a valid \
             int64"
    );
}

#[test]
fn a_long_number_is_never_rounded() {
    let text = "id,n\n1,9007199254740993\n2,1.5\n";
    assert_eq!(
        read_text("x.csv", text, &TypeRules::default())
            .expect("text")
            .0,
        ["id int64", "n text"]
    );
    let json = "{\"id\":1,\"n\":12345678901234567890}\n{\"id\":2,\"n\":1.5}\n";
    let (types, lines) = read_text("x.ndjson", json, &TypeRules::default()).expect("text");
    assert_eq!(
        (types[1].as_str(), lines[0].as_str()),
        ("n text", "1|12345678901234567890")
    );
    let error = read_text(
        "x.csv",
        "n\n9007199254740993\n",
        &pinned(&[("n", DataType::Float64)]),
    )
    .expect_err("too long");
    assert_eq!(
        error.to_string(),
        "the file, line 2: column 'n' was float64 in the previous copy, and '9007199254740993' \
             is not a valid float64"
    );
    let declared = TypeRules {
        declared: [("n".to_owned(), DataType::Float64)].into(),
        ..TypeRules::default()
    };
    assert!(read_text("x.csv", "n\n9007199254740993\n", &declared).is_err());
}

#[test]
fn text_that_is_not_the_canonical_form_of_its_type_is_refused_or_text() {
    let first_day = |values: &str| {
        read_text("x.csv", &format!("x\n{values}\n"), &TypeRules::default())
            .expect("it reads")
            .0[0]
            .clone()
    };
    for codes in [
        "90210\n02134",
        "1\n+1",
        "5\n12E3",
        "1\n1e400",
        "1.5\n0.12345678901234567890123",
        "1\n18446744073709551616",
    ] {
        assert_eq!(first_day(codes), "x text", "{codes}");
    }
    assert_eq!(first_day("1.5\n1e+20\n-0.0"), "x float64");
    assert_eq!(
        first_day("2024-01-31\n9999-12-31 00:00:00\n0001-01-01 00:00:00"),
        "x timestamp(us)"
    );
    assert_eq!(
        first_day("2024-12-31 10:00:00.123456789"),
        "x timestamp(ns)"
    );
    assert_eq!(
        first_day("2024-12-31 10:00:00.123456789\n9999-12-31 00:00:00"),
        "x text"
    );
    assert_eq!(
        first_day("2024-01-01 10:00:00 America/New_York\n2024-01-01 10:00:00 UTC"),
        "x timestamp(us, UTC)"
    );
    assert_eq!(
        first_day("2024-01-01 10:00:00 America/New_York\n2024-01-01 10:00:00"),
        "x text"
    );
    let second_day = |pinned_type: &str, value: &str| {
        let rules = pinned(&[(
            "x",
            crate::domain::type_names::parse_type(pinned_type).expect("a type"),
        )]);
        read_text("x.csv", &format!("x\n{value}\n"), &rules)
            .map(|(types, lines)| format!("{} = {}", types[0], lines[0]))
    };
    for (pinned_type, value, expected) in [
        ("int32", "3000000000", "x int64 = 3000000000"),
        (
            "uint64",
            "18446744073709551615",
            "x uint64 = 18446744073709551615",
        ),
        ("uint8", "-1", "x int64 = -1"),
        (
            "timestamp(ms)",
            "2024-01-01 00:00:00.000001",
            "x timestamp(us) = 2024-01-01T00:00:00.000001",
        ),
        (
            "timestamp(ms)",
            "2024-01-01",
            "x timestamp(ms) = 2024-01-01T00:00:00",
        ),
        (
            "timestamp(ns)",
            "9999-12-31 00:00:00",
            "x timestamp(us) = 9999-12-31T00:00:00",
        ),
        ("date", "2024-01-01 00:00:00", "x date = 2024-01-01"),
        (
            "date",
            "2024-01-01 23:30:00",
            "x timestamp(us) = 2024-01-01T23:30:00",
        ),
        ("decimal(10, 2)", "1.205", "x decimal(11, 3) = 1.205"),
        ("decimal(38, 2)", "1E-2", "x decimal(38, 2) = 0.01"),
        ("float32", "0.1", "x float32 = 0.1"),
        ("float32", "16777217", "x float64 = 16777217.0"),
        ("float64", "NaN", "x float64 = NaN"),
        ("list<int64>", "\"[1, null]\"", "x list<int64> = [1, null]"),
        ("time", "10:00:00.000999", "x time = 10:00:00.000999"),
    ] {
        assert_eq!(second_day(pinned_type, value).expect(value), expected);
    }
    for (pinned_type, value) in [
        ("int64", "02134"),
        ("int64", "+447700900123"),
        ("int64", "12E3"),
        ("int64", "9223372036854775808"),
        ("uint64", "-1"),
        ("float64", "1e400"),
        ("float64", "1e-400"),
        ("float64", "007"),
        ("float64", "9007199254740993"),
        ("decimal(38, 0)", "1.5"),
        ("decimal(38, 2)", "1.239"),
        ("date", "2024-01-01T23:00:00-05:00"),
        ("timestamp(us)", "2024-01-01 10:00:00 America/New_York"),
        ("timestamp(us)", "9999-12-31 23:59:59.9999999"),
        ("timestamp(us, UTC)", "2024-01-01 10:00:00"),
        ("time(ms)", "10:00:00.000999"),
        ("list<int64>", "\"[1, NULL]\""),
        ("list<text>", "[x]"),
        ("binary", "6162"),
        ("duration(us)", "5"),
    ] {
        let error = second_day(pinned_type, value).expect_err(value);
        assert_eq!(error.kind(), crate::error::Kind::Refused);
        assert!(
            error
                .to_string()
                .starts_with("the file, line 2: column 'x' was"),
            "{error}"
        );
    }
}

#[test]
fn a_declared_type_overrules_all() {
    let rules = TypeRules {
        declared: [("n".to_owned(), DataType::Utf8)].into(),
        ..pinned(&[("n", DataType::Int64)])
    };
    assert_eq!(
        read_text("x.csv", "n\n007\n", &rules).expect("text").1,
        ["007"]
    );
    let rules = TypeRules {
        declared: [("cod".to_owned(), DataType::Utf8)].into(),
        ..TypeRules::default()
    };
    let error = read_text("x.csv", "code\n007\n", &rules).expect_err("no column cod");
    assert_eq!(
        (error.to_string().as_str(), error.hints()[0].as_str()),
        (
            "a type is declared for column 'cod', and the file has no such column",
            "did you mean 'code'?"
        )
    );
}

#[test]
fn a_note_says_what_reads_numbers_with_commas() {
    let decimal = "--csv decimal=,";
    for (values, expected) in [
        ("1,5", Some(decimal)),
        ("12\n-1,5\n0,125", Some(decimal)),
        ("1,500\n0,5", Some(decimal)),
        (
            "1,500\n12,250",
            Some("--csv decimal=, or --csv thousands=,"),
        ),
        ("1.234,50\n7", Some("--csv decimal=,,thousands=.")),
        ("1.234\n7,5", Some("--csv decimal=,,thousands=.")),
        ("1.5\n7,5", None),
        ("007\n1,5", None),
        ("1,5\nx", None),
        ("1,2,3", None),
        ("2024-01-31\n1,5", None),
        ("1,5e3", None),
        ("31.01.2024", None),
        ("12", None),
    ] {
        let text = format!(
            "id;n\n{}\n",
            values
                .lines()
                .map(|value| format!("1;{value}"))
                .collect::<Vec<_>>()
                .join("\n")
        );
        let notes = |dialect: &str| {
            let csv = if dialect.is_empty() {
                Dialect::default()
            } else {
                Dialect::parse(dialect).expect("settings")
            };
            let rules = TypeRules {
                csv: Arc::new(csv),
                ..TypeRules::default()
            };
            let (types, _) = read_text("x.csv", &text, &rules).expect("it reads");
            (types[1].clone(), rules.observed.notes())
        };
        let found = notes("").1;
        assert_eq!(
            found
                .first()
                .and_then(|note| note.rsplit_once(": "))
                .map(|(_, option)| option),
            expected,
            "{values}"
        );
        for option in expected.iter().flat_map(|options| options.split(" or ")) {
            let (data_type, left) = notes(&option["--csv ".len()..]);
            assert!(
                data_type != "n text" && left.is_empty(),
                "{values} with {option}: {data_type}"
            );
        }
    }
    let rules = TypeRules::default();
    read_text("x.csv", "id,n\n1,\"1,5\"\n", &rules).expect("it reads");
    assert!(
        rules.observed.notes().is_empty(),
        "values are lists as often, where a comma separates fields"
    );
}

#[test]
fn damaged_text_is_refused_with_its_line() {
    let message = |name: &str, text: &str| {
        read_text(name, text, &TypeRules::default())
            .expect_err("damaged")
            .to_string()
    };
    assert_eq!(
        message("x.csv", "a,b\n1,2\n3\n"),
        "the file, line 3: expected 2 fields, found 1"
    );
    assert_eq!(
        message("x.csv", "a,b\n1,2,3\n"),
        "the file, line 2: expected 2 fields, found 3"
    );
    assert_eq!(
        message("x.csv", "a,a\n1,2\n"),
        "the file has two columns named 'a'"
    );
    assert_eq!(
        message("x.csv", "\r\n\r\na,b\r\n1,2\r\n\r\n\"x\r\ny\",2\r\n3\r\n"),
        "the file, line 8: expected 2 fields, found 1"
    );
    assert_eq!(
        message("x.csv", "a,b\n1,\"2\n"),
        "the file ends inside a quoted value, in the row that begins on line 2"
    );
    let escaped = "the file, line 3: a quoted value goes on after its closing quote";
    assert_eq!(
        message("x.csv", "a,b\n\"1\"\"\",\"2\"\n3,\"4 \\\"5\\\" 6\"\n"),
        escaped
    );
    assert_eq!(
        message("x.ndjson", "{\"a\":1}\n{\"a\":\n"),
        "the file, line 3: invalid JSON: incomplete document"
    );
    assert_eq!(
        message("x.ndjson", "{\"a\":1}\n\n{\"a\":3,}\n"),
        "the file, line 3: invalid JSON: trailing comma not enabled"
    );
    assert_eq!(
        message("x.ndjson", "{\"a\":1}\n{\"a\":1,\"a\":2}\n"),
        "the file, line 2: the object has the field 'a' twice"
    );
    assert_eq!(
        message("x.ndjson", "[1]"),
        "the file, line 1: expected a JSON object, found a number"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.csv");
    std::fs::write(&path, b"a,b\n1,caf\xe9\n").expect("written");
    let error = read_all(&[file(&path)], &TypeRules::default(), Some("the file"))
        .err()
        .expect("no UTF-8");
    assert_eq!(
        error.to_string(),
        "the file, line 2: column 'b' is not UTF-8 text"
    );
}

#[test]
fn ndjson_keeps_nested_values() {
    let (types, lines) = read_text(
        "x.jsonl",
        "{\"id\":1,\"tags\":[\"a\",null],\"at\":{\"x\":1.5}}\n{\"id\":2}\n",
        &TypeRules::default(),
    )
    .expect("it reads");
    assert_eq!(
        types,
        ["id int64", "tags list<text>", "at struct<x: float64>"]
    );
    assert_eq!(lines.len(), 2);
}

#[test]
fn files_of_one_table_must_agree() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        file(&path)
    };
    let a = path("a.csv", "id,n\n1,2\n");
    let b = path("b.csv", "n,id\n2.5,3\n");
    let c = path("c.csv", "id\n1\n");
    let rows = read_all(&[a.clone(), b], &TypeRules::default(), None).expect("order may differ");
    assert_eq!(
        type_name(rows.schema.field(1).data_type()),
        "float64",
        "types are decided over all files"
    );
    let parts = [a, c, path("d.csv", ""), path("e.csv", "m,n\n7,8\n")];
    let rows = read_all(&parts, &TypeRules::default(), None).expect("they unify");
    let shown: Vec<String> = rows
        .batches
        .flat_map(|batch| lines(&batch.expect("rows")))
        .collect();
    assert_eq!(
        shown,
        ["1|2|", "1||", "|8|7"],
        "an absent column is one of nulls, and an empty part has no rows"
    );
    assert_eq!(
        files_of(&Location::local(folder.path().join("*.csv")))
            .expect("files")
            .len(),
        5
    );
    assert_eq!(
        files_of(&Location::local(folder.path()))
            .expect("files")
            .len(),
        5
    );
    assert_eq!(
        files_of(&Location::local(folder.path().join("*.parquet")))
            .expect_err("none")
            .kind(),
        crate::error::Kind::Io
    );
}

#[test]
fn a_part_without_a_byte_has_no_rows_and_a_file_without_one_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let zipped = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(bytes).expect("compressed");
        gzip.finish().expect("compressed")
    };
    let parts: [(&str, Vec<u8>); 5] = [
        ("a.csv", vec![]),
        ("b.csv", b"id,v\n1,x\n".to_vec()),
        ("c.csv", vec![]),
        ("d.csv", b"id\n2\n".to_vec()),
        ("e.csv", zipped(b"")),
    ];
    let files = parts.map(|(name, bytes)| {
        std::fs::write(folder.path().join(name), bytes).expect("written");
        file(&folder.path().join(name))
    });
    let rows = read_all(&files, &TypeRules::default(), None).expect("two parts have rows");
    assert_eq!(
        rows.batches
            .flat_map(|batch| lines(&batch.expect("rows")))
            .collect::<Vec<_>>(),
        ["1|x", "2|"]
    );
    for empty in [&files[..1], &files[4..]] {
        assert_eq!(
            read_all(empty, &TypeRules::default(), None)
                .err()
                .expect("empty")
                .kind(),
            crate::error::Kind::Refused
        );
    }
}

#[test]
fn folders_hold_columns() {
    use crate::domain::layout::Layout;
    use crate::storage::lake::partitions::find;
    use arrow::array::Int64Array;
    let folder = tempfile::tempdir().expect("a folder");
    let store = crate::storage::object_store::registry::Stores::new(Vec::new(), Default::default())
        .expect("stores")
        .in_memory("memory://test");
    let files = [
        ("country=DE/hour=7", 1),
        ("country=US/hour=07", 2),
        ("country=__HIVE_DEFAULT_PARTITION__/hour=8", 3),
        ("country=a%2Fb/plain", 4),
    ];
    for (ending, root) in [
        ("csv", "text"),
        ("ndjson", "json"),
        ("parquet", "typed"),
        ("arrow", "ipc"),
    ] {
        for (path, id) in files {
            let path = format!("{root}/date=2024-01-01/{path}/x.{ending}");
            let local = folder.path().join(&path);
            std::fs::create_dir_all(local.parent().expect("a folder")).expect("made");
            match ending {
                "csv" => std::fs::write(&local, format!("id\n{id}\n")).expect("written"),
                "ndjson" => std::fs::write(&local, format!("{{\"id\":{id}}}\n")).expect("written"),
                _ => drop(typed_file(
                    local.parent().expect("a folder"),
                    &format!("x.{ending}"),
                    vec![("id", Arc::new(Int64Array::from(vec![id])))],
                )),
            }
            store
                .put(&path, std::fs::read(local).expect("its bytes"))
                .expect("written");
        }
        let layout = Layout::parse("date=%Y-%m-%d").expect("a layout");
        for place in [
            Location::local(folder.path()),
            Location::remote(store.clone(), ""),
        ] {
            let partition = find(&place.join(root), &layout, None)
                .expect("found")
                .partitions
                .into_values()
                .next()
                .expect("one date");
            let source = files_of(&place.join(root).join("date=2024-01-01")).expect("files");
            let glob = files_of(&place.join(root).join("date=2024-01-01/**/*.*")).expect("files");
            for objects in [partition, source, glob] {
                let rules = TypeRules {
                    layout: LayoutColumns::of_table(&layout),
                    ..TypeRules::default()
                };
                let rows = read_all(&objects, &rules, None).expect("it reads");
                let types: Vec<_> = rows
                    .schema
                    .fields()
                    .iter()
                    .map(|field| format!("{} {}", field.name(), type_name(field.data_type())))
                    .collect();
                assert_eq!(
                    types,
                    ["id int64", "country text", "hour text"],
                    "07 is a code"
                );
                let mut all: Vec<String> = rows
                    .batches
                    .flat_map(|batch| lines(&batch.expect("rows")))
                    .collect();
                all.sort();
                assert_eq!(
                    all,
                    ["1|DE|7", "2|US|07", "3||8", "4|a/b|"],
                    "{place}, {ending}"
                );
                let columns = ["country".to_owned()];
                let read = read_columns(
                    &objects,
                    Format::of(&objects[0].location).expect("a format"),
                    &rules,
                    &columns,
                    None,
                );
                let mut all: Vec<String> = read
                    .expect("it reads")
                    .flat_map(|batch| lines(&batch.expect("rows")))
                    .collect();
                all.sort();
                assert_eq!(all, ["", "DE", "US", "a/b"]);
            }
        }
    }
    let country = folder.path().join("text/date=2024-01-01/country=DE");
    let objects = files_of(&Location::local(&country)).expect("files");
    let rules = TypeRules {
        declared: [("hour".to_owned(), DataType::Int32)].into(),
        ..TypeRules::default()
    };
    assert_eq!(
        read_all(&objects, &TypeRules::default(), None)
            .expect("it reads")
            .schema
            .field(1)
            .data_type(),
        &DataType::Utf8
    );
    assert_eq!(
        read_all(&objects, &rules, None)
            .expect("it reads")
            .schema
            .field(1)
            .data_type(),
        &DataType::Int32
    );
    let own = |text: &str| {
        std::fs::write(
            folder
                .path()
                .join("text/date=2024-01-01/country=DE/hour=7/x.csv"),
            text,
        )
        .expect("written");
        let rows = files_of(&Location::local(&country))
            .and_then(|objects| read_all(&objects, &TypeRules::default(), None))
            .expect("it reads");
        rows.batches
            .collect::<Result<Vec<_>>>()
            .map(|batches| batches.iter().flat_map(lines).collect::<Vec<_>>())
    };
    assert_eq!(
        own("hour,id\n7,1\n").expect("both agree"),
        ["7|1"],
        "the file's own column is read"
    );
    let error = own("hour,id\n7,1\n8,2\n")
        .expect_err("both must agree")
        .to_string();
    assert!(
        error.ends_with("country=DE/hour=7': column 'hour' holds 8, and its folder says '7'"),
        "{error}"
    );
    let error = own("hour,id\n7,1\n,2\n")
        .expect_err("both must agree")
        .to_string();
    assert!(
        error.ends_with("column 'hour' holds null, and its folder says '7'"),
        "{error}"
    );
}

#[test]
fn the_date_of_a_layout_is_a_column_of_events_and_none_of_a_table() {
    use crate::domain::layout::Layout;
    use crate::storage::lake::partitions::find;
    use arrow::array::{
        Date32Array, Int32Array, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    };
    let day = 19_723;
    let midnight = i64::from(day) * 86_400_000_000;
    // What a file's own column is in a table and in events: left out, kept as it is, or
    // refused.
    let cases: [(&str, ArrayRef, Option<&str>, Option<&str>); 7] = [
        (
            "dt=%Y-%m-%d",
            Arc::new(Date32Array::from(vec![day])),
            Some(""),
            Some("2024-01-01"),
        ),
        (
            "dt=%Y-%m-%d",
            Arc::new(StringArray::from(vec!["2024-01-01"])),
            Some(""),
            Some("2024-01-01"),
        ),
        (
            "dt=%Y%m%d",
            Arc::new(StringArray::from(vec!["2024-01-01"])),
            Some(""),
            Some("2024-01-01"),
        ),
        (
            "dt=%Y%m%d",
            Arc::new(Int32Array::from(vec![20_240_101])),
            Some(""),
            Some("20240101"),
        ),
        (
            "dt=%Y-%m-%d",
            Arc::new(TimestampMillisecondArray::from(vec![midnight / 1000])),
            Some(""),
            Some("2024-01-01T00:00:00"),
        ),
        (
            "dt=%Y-%m-%d",
            Arc::new(TimestampMicrosecondArray::from(vec![midnight + 1])),
            None,
            Some("2024-01-01T00:00:00.000001"),
        ),
        (
            "dt=%Y-%m-%d",
            Arc::new(Date32Array::from(vec![day + 1])),
            None,
            None,
        ),
    ];
    for (template, own, in_table, in_events) in cases {
        let layout = Layout::parse(template).expect("a layout");
        let folder = tempfile::tempdir().expect("a folder");
        let partition = folder
            .path()
            .join(layout.path(crate::model::parse_date("2024-01-01").expect("a date")));
        std::fs::create_dir_all(&partition).expect("made");
        let shown = |own: Option<ArrayRef>, columns: LayoutColumns| {
            let id: ArrayRef = Arc::new(Int32Array::from(vec![1]));
            typed_file(
                &partition,
                "x.parquet",
                [("id", id)]
                    .into_iter()
                    .chain(own.map(|own| ("dt", own)))
                    .collect(),
            );
            let found = find(&Location::local(folder.path()), &layout, None)
                .expect("found")
                .partitions;
            let objects = found.into_values().next().expect("one date");
            let rows = read_all(
                &objects,
                &TypeRules {
                    layout: columns,
                    ..TypeRules::default()
                },
                None,
            )
            .expect("it opens");
            let width = rows.schema.fields().len();
            let batches = rows.batches.collect::<Result<Vec<_>>>().ok()?;
            let batch = &batches[0];
            assert_eq!(batch.num_columns(), width);
            Some(
                batch
                    .columns()
                    .iter()
                    .skip(1)
                    .map(|column| crate::domain::cast::display(column, 0))
                    .collect::<Vec<_>>()
                    .join(","),
            )
        };
        assert_eq!(
            shown(Some(own.clone()), LayoutColumns::of_table(&layout)).as_deref(),
            in_table,
            "{template}, {own:?}"
        );
        assert_eq!(
            shown(Some(own.clone()), LayoutColumns::of_events(&layout)).as_deref(),
            in_events,
            "{template}, {own:?}"
        );
        assert_eq!(
            shown(None, LayoutColumns::of_table(&layout)).as_deref(),
            Some("")
        );
        assert_eq!(
            shown(None, LayoutColumns::of_events(&layout)).as_deref(),
            Some("2024-01-01")
        );
        let unwanted = LayoutColumns::of_events(&layout).without(vec!["dt".to_owned()]);
        assert_eq!(shown(None, unwanted).as_deref(), Some(""));
    }
}

#[test]
fn compression_is_seen_by_the_first_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(b"a\n1\n").expect("compressed");
    let gzip = gzip.finish().expect("compressed");
    let zstd = zstd::encode_all(b"a\n1\n".as_slice(), 3).expect("compressed");
    for (name, bytes) in [("x.csv.gz", gzip), ("x.csv.zst", zstd)] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        let rows = read_all(&[file(&path)], &TypeRules::default(), None).expect("it reads");
        assert_eq!(
            rows.batches
                .map(|batch| batch.expect("a batch").num_rows())
                .sum::<usize>(),
            1
        );
    }
}
