use super::*;
use crate::source::database::{DatabaseSource, DatabaseUrl, RelationOptions};
use crate::source::testing::lines;
use crate::source::{SnapshotSource, TypeRules};

const OPTIONS: RelationOptions = RelationOptions {
    other: "--source-table NAME",
    query: "--query",
};

/// The columns with their types, and the rows, of a relation of a database that `sql` makes.
fn read_with(
    sql: &str,
    relation: DatabaseRelation,
    rules: &TypeRules,
) -> Result<(Vec<String>, Vec<String>)> {
    let folder = tempfile::tempdir().expect("a folder");
    let made = Connection::open(folder.path().join("shop.db")).expect("a database");
    made.execute_batch(sql).expect("its tables");
    drop(made);
    let mut source = DatabaseSource {
        name: "sqlite:shop.db".to_owned(),
        url: DatabaseUrl::parse("sqlite:shop.db", folder.path())?,
        relation,
        options: OPTIONS,
        variables: Default::default(),
        of_date: None,
    };
    let rows = source.read(rules)?;
    let types = rows.schema.fields().iter().map(|field| {
        let name = crate::domain::type_names::type_name(field.data_type());
        format!("{} {name}", field.name())
    });
    let types = types.collect();
    let mut shown = Vec::new();
    for batch in rows.batches {
        shown.extend(lines(&batch?));
    }
    Ok((types, shown))
}

fn read_table(sql: &str) -> Result<(Vec<String>, Vec<String>)> {
    read_with(
        sql,
        DatabaseRelation::Table("t".into()),
        &TypeRules::default(),
    )
}

fn declared(columns: &[(&str, &str)]) -> TypeRules {
    let types = columns.iter().map(|(name, data_type)| {
        let data_type = crate::domain::type_names::parse_type(data_type).expect("a type");
        ((*name).to_owned(), data_type)
    });
    TypeRules {
        declared: types.collect(),
        ..TypeRules::default()
    }
}

#[test]
fn every_declared_type_is_read_as_its_values() {
    let (types, rows) = read_table(
        "CREATE TABLE t (i INTEGER, t VARCHAR(9), x BLOB, f REAL, b BOOLEAN, d DATE, at DATETIME,
           z TIMESTAMPTZ, c TIME, p DECIMAL(10, 2), n NUMERIC, j JSON, e);
         INSERT INTO t VALUES (9223372036854775807, 'ä', x'00ff', 0.1, 1, '2024-01-31',
           '2024-01-31 10:00:00.5', '2024-01-31 10:00:00+01:00', '10:00:00', 1.2, 7, '{\"a\":1}', NULL),
           (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
           (-1, '', x'', 3, 0, '0001-01-01', '9999-12-31', '2024-01-31T10:00:00Z', '23:59', 5, 1.5,
           '[]', NULL)",
    )
    .expect("it reads");
    let expected = [
        "i int64",
        "t text",
        "x binary",
        "f float64",
        "b bool",
        "d date",
        "at timestamp(us)",
        "z timestamp(us, UTC)",
        "c time",
        "p decimal(10, 2)",
        "n float64",
        "j text",
        "e null",
    ];
    assert_eq!(types, expected);
    let expected = [
        "9223372036854775807|ä|00ff|0.1|true|2024-01-31|2024-01-31T10:00:00.500|\
         2024-01-31T09:00:00Z|10:00:00|1.20|7.0|{\"a\":1}|",
        "||||||||||||",
        "-1|||3.0|false|0001-01-01|9999-12-31T00:00:00|2024-01-31T10:00:00Z|23:59:00|5.00|1.5|[]|",
    ];
    assert_eq!(rows, expected);
}

#[test]
fn a_value_that_its_column_does_not_hold_is_refused_with_its_row() {
    for (column, value, what) in [
        ("n INTEGER", "'abc'", "is int64, and holds the text 'abc'"),
        ("n INTEGER", "1.5", "is int64, and holds the real '1.5'"),
        ("n BOOLEAN", "2", "is bool, and holds the integer '2'"),
        (
            "n DATE",
            "'31.01.2024'",
            "is date, and holds the text '31.01.2024'",
        ),
        ("n DATETIME", "1700000000", "holds the integer '1700000000'"),
        (
            "n DECIMAL(4, 2)",
            "1.234",
            "is decimal(4, 2), and holds the text '1.234'",
        ),
        ("n TEXT", "x'ff'", "is text, and holds the blob 'ff'"),
        (
            "n TEXT",
            "CAST(x'ff' AS TEXT)",
            "holds text that is not UTF-8",
        ),
        ("n BLOB", "'a'", "is binary, and holds the text 'a'"),
    ] {
        let sql =
            format!("CREATE TABLE t (id, {column}); INSERT INTO t VALUES (1, NULL), (2, {value})");
        let error = read_table(&sql).expect_err(column);
        let expected = format!("'sqlite:shop.db': row 2: column 'n' {what}");
        let shown = error.to_string();
        assert!(shown == expected || shown.ends_with(what), "{shown}");
        assert!(shown.contains("row 2: column 'n'"), "{shown}");
        assert_eq!(error.kind(), crate::error::Kind::Refused);
        assert!(
            error.hints()[0].contains("--types n=text"),
            "{:?}",
            error.hints()
        );
    }
}

#[test]
fn a_column_of_several_types_is_refused_unless_it_is_declared() {
    let sql = "CREATE TABLE t (id INTEGER, n); INSERT INTO t VALUES (1, 'a'), (2, 7), (3, 1.5)";
    let error = read_table(sql).expect_err("several types");
    assert_eq!(
        error.to_string(),
        "'sqlite:shop.db': column 'n' holds values of the types text and integer and real"
    );
    let table = DatabaseRelation::Table("t".into());
    let (types, rows) = read_with(sql, table, &declared(&[("n", "text")])).expect("text");
    assert_eq!(
        (types[1].as_str(), rows),
        ("n text", vec!["1|a".into(), "2|7".into(), "3|1.5".into()])
    );
}

#[test]
fn values_are_read_as_a_declared_type_or_refused() {
    let sql = "CREATE TABLE t (n INTEGER, s TEXT); INSERT INTO t VALUES (5, '7'), (300, '8')";
    let table = || DatabaseRelation::Table("t".into());
    let (types, rows) = read_with(
        sql,
        table(),
        &declared(&[("n", "int16"), ("s", "decimal(4, 1)")]),
    )
    .expect("they fit");
    assert_eq!(types, ["n int16", "s decimal(4, 1)"]);
    assert_eq!(rows, ["5|7.0", "300|8.0"]);
    let error = read_with(sql, table(), &declared(&[("n", "int8")])).expect_err("too large");
    assert_eq!(
        error.to_string(),
        "'sqlite:shop.db': row 2: column 'n' is int8, and holds the text '300'"
    );
    let error = read_with(sql, table(), &declared(&[("m", "int8")])).expect_err("no column");
    assert_eq!(
        error.to_string(),
        "a type is declared for column 'm', and 'sqlite:shop.db' has no such column"
    );
}

#[test]
fn a_column_of_floats_stays_one_on_a_night_without_fractions() {
    let sql = "CREATE TABLE t (n NUMERIC); INSERT INTO t VALUES (5)";
    let floats = Schema::new(vec![Field::new("n", DataType::Float64, true)]);
    let rules = TypeRules {
        pinned: Some(Arc::new(floats)),
        ..TypeRules::default()
    };
    let (types, rows) =
        read_with(sql, DatabaseRelation::Table("t".into()), &rules).expect("it reads");
    assert_eq!(
        (types, rows),
        (vec!["n float64".to_owned()], vec!["5.0".to_owned()])
    );
    assert_eq!(read_table(sql).expect("it reads").0, ["n int64"]);
}

#[test]
fn a_query_is_read_in_its_own_order_and_must_only_read() {
    let sql =
        "CREATE TABLE t (id INTEGER, s TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')";
    let query = |query: &str| {
        read_with(
            sql,
            DatabaseRelation::Query(query.into()),
            &TypeRules::default(),
        )
    };
    let (types, rows) = query("SELECT id * 2 AS double, s FROM t WHERE id > 1 ORDER BY id DESC;")
        .expect("it reads");
    assert_eq!(types, ["double int64", "s text"]);
    assert_eq!(rows, ["6|c", "4|b"]);
    let (types, rows) = query("SELECT count(*), max(s), '\"' FROM t -- all").expect("it reads");
    assert_eq!(types, ["count(*) int64", "max(s) text", "'\"' text"]);
    assert_eq!(rows, ["3|c|\""]);
    for (text, what) in [
        ("DELETE FROM t", "it is not a query that returns rows"),
        ("SELECT nme FROM t", "no such column: nme"),
        ("SELECT 1; SELECT 2", "Multiple statements provided"),
        ("SELECT id, id FROM t", "has two columns named 'id'"),
    ] {
        let error = query(text).expect_err(text);
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn a_table_that_is_not_there_is_refused_with_the_nearest() {
    let sql = "CREATE TABLE item (id INTEGER); CREATE VIEW \"odd \"\"name\" AS SELECT 1 AS x";
    let read = |table: &str| {
        read_with(
            sql,
            DatabaseRelation::Table(table.into()),
            &TypeRules::default(),
        )
    };
    let error = read("itme").expect_err("no table");
    assert_eq!(
        error.to_string(),
        "'sqlite:shop.db': there is no table or view 'itme'"
    );
    assert_eq!(error.hints(), ["did you mean 'item'?"]);
    assert_eq!(
        read("customers").expect_err("no table").hints(),
        ["--source-table NAME"]
    );
    assert_eq!(read("odd \"name").expect("a view").1, ["1"]);
    assert_eq!(
        read("MAIN.item").map_err(|error| error.kind()).err(),
        Some(crate::error::Kind::Usage)
    );
    assert!(read("main.item").is_ok() && read("ITEM").is_ok());
}

#[test]
fn what_is_no_database_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("x.db"), "id,name\n".repeat(200)).expect("written");
    for (text, what) in [
        (
            "sqlite:x.db",
            "the file is not an SQLite database, or it is encrypted",
        ),
        ("sqlite:y.db", "No such file"),
    ] {
        let mut source = DatabaseSource {
            name: text.to_owned(),
            url: DatabaseUrl::parse(text, folder.path()).expect("a URL"),
            relation: DatabaseRelation::Table("t".into()),
            options: OPTIONS,
            variables: Default::default(),
            of_date: None,
        };
        let error = source
            .read(&TypeRules::default())
            .err()
            .expect("no database");
        assert!(error.to_string().contains(what), "{error}");
    }
    assert!(!folder.path().join("y.db").exists(), "nothing is created");
}

#[test]
fn a_file_that_somebody_writes_to_while_it_is_read_as_unwritten_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a shop?.db");
    let made = Connection::open(&path).expect("a database");
    made.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (n INTEGER)")
        .expect("a table");
    drop(made);
    let file = OpenedFile::open(&path).expect("opened");
    let count = |file: &OpenedFile| {
        let count = "SELECT count(*) FROM t";
        file.connection
            .query_row(count, [], |row| row.get::<_, i64>(0))
    };
    assert_eq!(count(&file), Ok(0));
    file.check_unwritten().expect("nobody wrote");
    // Its log is written into the file as it is closed.
    let other = Connection::open(&path).expect("a database");
    other
        .execute_batch("INSERT INTO t VALUES (1)")
        .expect("a row");
    let reader = OpenedFile::open(&path).expect("opened beside a writer");
    drop(other);
    let error = file.check_unwritten().expect_err("somebody wrote");
    assert_eq!(
        error.to_string(),
        "another program wrote to the database while it was read"
    );
    assert_eq!(count(&reader), Ok(1));
    reader.check_unwritten().expect("the log tells readers");
}
