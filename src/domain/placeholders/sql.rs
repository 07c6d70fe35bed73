//! Placeholders in SQL: of jobs, and of queries that a database is asked.
//!
//! Quotes and comments are those of the dialect: text within quotes gets no second pair of them,
//! and comments are left as they are. So `{date}` and `'{date}'` are both the date, and neither can
//! be anything else: what is put in is made of a date, and never of a text that somebody gave.

use std::ops::Range;

use sqlparser::dialect::{Dialect, GenericDialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::tokenizer::{Location, Token, Tokenizer, Whitespace};

use super::{JobDay, KNOWN_IN_SOURCES, PlaceholderValue, has_names_in_braces};
use crate::error::{Error, Result};

/// The placeholders of jobs, for hints.
const KNOWN_IN_JOBS: &str =
    "the placeholders are {date}, {yesterday}, {start} and {end}, and with a format {date:%Y%m%d}";

/// Whose SQL it is: how it is quoted, how a date is written in it, and which placeholders it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlOf {
    /// A job, which DataFusion runs.
    Job,
    /// A job that Spark runs.
    JobOnSpark,
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    Mysql,
    /// SQLite, which has no literals of dates: a date is text.
    Sqlite,
}

impl SqlOf {
    fn dialect(self) -> &'static dyn Dialect {
        match self {
            SqlOf::Job | SqlOf::JobOnSpark => &GenericDialect {},
            SqlOf::Postgres => &PostgreSqlDialect {},
            SqlOf::Mysql => &MySqlDialect {},
            SqlOf::Sqlite => &SQLiteDialect {},
        }
    }

    fn is_of_job(self) -> bool {
        matches!(self, SqlOf::Job | SqlOf::JobOnSpark)
    }

    /// What messages call it.
    fn what(self) -> &'static str {
        match self {
            SqlOf::Job | SqlOf::JobOnSpark => "the job's SQL",
            _ => "the query",
        }
    }

    fn known(self) -> &'static str {
        match self {
            SqlOf::Job | SqlOf::JobOnSpark => KNOWN_IN_JOBS,
            _ => KNOWN_IN_SOURCES,
        }
    }

    /// The value of a name. How a database writes a time with its zone differs too much for one.
    fn value(self, name: &str, day: JobDay) -> Option<PlaceholderValue> {
        PlaceholderValue::of(name, day)
            .filter(|value| self.is_of_job() || matches!(value, PlaceholderValue::Date(_)))
    }

    fn literal(self, value: PlaceholderValue) -> String {
        let text = value.text();
        match value {
            PlaceholderValue::Date(_) if self == SqlOf::Sqlite => format!("'{text}'"),
            PlaceholderValue::Date(_) => format!("DATE '{text}'"),
            PlaceholderValue::Time(_) if self == SqlOf::JobOnSpark => {
                // The local engine's literal has no zone either.
                format!("TIMESTAMP_NTZ '{}'", text.trim_end_matches('Z'))
            }
            PlaceholderValue::Time(_) => format!("TIMESTAMPTZ '{text}'"),
        }
    }
}

/// Puts the values of a day in the places of the placeholders.
///
/// # Errors
/// A usage error for another name in braces, such as the `{ds}` of a scheduler's templates, for a
/// wrong format, and for quotes that do not end.
pub fn bind(sql: &str, day: JobDay, of: SqlOf) -> Result<String> {
    if !sql.contains('{') || !of.is_of_job() && !has_names_in_braces(sql) {
        return Ok(sql.to_owned());
    }
    let mut bound = String::with_capacity(sql.len());
    let mut from = 0;
    for (quoted, kind) in quoted(sql, of)? {
        let code = &sql[from..quoted.start];
        bind_part(code, day, (of, SqlPart::Code), &mut bound)?;
        bind_part(&sql[quoted.clone()], day, (of, kind), &mut bound)?;
        from = quoted.end;
    }
    bind_part(&sql[from..], day, (of, SqlPart::Code), &mut bound)?;
    Ok(bound)
}

/// A part of a query.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SqlPart {
    Code,
    /// A value in quotes.
    Text,
    /// A name in quotes.
    Name,
    Comment,
}

/// The parts of a query that are quoted or comments, in their order.
fn quoted(sql: &str, of: SqlOf) -> Result<Vec<(Range<usize>, SqlPart)>> {
    let tokens = Tokenizer::new(of.dialect(), sql)
        .with_unescape(false)
        .tokenize_with_location();
    let tokens = tokens.map_err(|error| Error::usage(format!("{}: {error}", of.what())))?;
    let mut place = MarkedPlace::start(sql);
    let mut parts = Vec::new();
    for token in tokens {
        let part = match &token.token {
            Token::Whitespace(
                Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_),
            ) => SqlPart::Comment,
            Token::Word(word) if word.quote_style.is_some() => SqlPart::Name,
            Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::TripleSingleQuotedString(_)
            | Token::TripleDoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::DoubleQuotedByteStringLiteral(_)
            | Token::SingleQuotedRawStringLiteral(_)
            | Token::DoubleQuotedRawStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_) => SqlPart::Text,
            _ => continue,
        };
        let start = place.byte(token.span.start);
        parts.push((start..place.byte(token.span.end), part));
    }
    Ok(parts)
}

/// A place in a text, which only moves forward.
pub struct MarkedPlace<'a> {
    sql: &'a str,
    at: usize,
    line: u64,
    column: u64,
}

impl<'a> MarkedPlace<'a> {
    /// The beginning of a text.
    pub fn start(sql: &'a str) -> Self {
        MarkedPlace {
            sql,
            at: 0,
            line: 1,
            column: 1,
        }
    }

    /// The byte at a line and column, both of which count characters from 1.
    pub fn byte(&mut self, to: Location) -> usize {
        while (self.line, self.column) < (to.line, to.column) {
            let Some(character) = self.sql[self.at..].chars().next() else {
                break;
            };
            self.at += character.len_utf8();
            (self.line, self.column) = if character == '\n' {
                (self.line + 1, 1)
            } else {
                (self.line, self.column + 1)
            };
        }
        self.at
    }
}

/// The names that schedulers and other programs give to dates.
const DATES_OF_OTHERS: [&str; 9] = [
    "ds",
    "ds_nodash",
    "execution_date",
    "logical_date",
    "partition_date",
    "run_date",
    "snapshot_date",
    "today",
    "tomorrow",
];

fn bind_part(
    sql: &str,
    day: JobDay,
    (of, part): (SqlOf, SqlPart),
    bound: &mut String,
) -> Result<()> {
    let mut rest = sql;
    while part != SqlPart::Comment
        && let Some(at) = rest.find('{')
    {
        bound.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some((inside, after)) = rest[1..].split_once('}') else {
            break;
        };
        let (name, format) = inside
            .split_once(':')
            .map_or((inside, None), |(name, format)| (name, Some(format)));
        let value = of
            .value(name, day)
            .filter(|_| format.is_none_or(|format| format.contains('%')));
        match (value, format) {
            (Some(value), Some(format)) => {
                bound.push_str(&value.formatted(format, of.what())?);
            }
            (Some(value), None) if part == SqlPart::Code => bound.push_str(&of.literal(value)),
            (Some(value), None) => bound.push_str(&value.text()),
            (None, _) => {
                let is_name = !inside.is_empty()
                    && inside
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || c == '_');
                let is_taken = match part {
                    SqlPart::Code => true,
                    SqlPart::Text => {
                        DATES_OF_OTHERS.contains(&inside.to_ascii_lowercase().as_str())
                    }
                    SqlPart::Name | SqlPart::Comment => false,
                };
                if is_name && is_taken {
                    let what = of.what();
                    return Err(Error::usage(format!(
                        "{what}: there is no placeholder {{{inside}}}"
                    ))
                    .hint(of.known()));
                }
                bound.push('{');
                rest = &rest[1..];
                continue;
            }
        }
        rest = after;
    }
    bound.push_str(rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_date;
    use chrono_tz::Tz;

    fn bind_of(sql: &str, of: SqlOf) -> Result<String> {
        bind(
            sql,
            JobDay::utc(parse_date("2024-01-31").expect("a date")),
            of,
        )
    }

    fn bound(sql: &str) -> Result<String> {
        bind_of(sql, SqlOf::Job)
    }

    #[test]
    fn the_date_is_a_literal_and_bare_inside_quotes() {
        let sql = "select {date}, {DATE}, 'on {date}', 'it''s {DATE}', \"{x}\", \"on {date}\" \
         from t where d = {yesterday}";
        assert_eq!(
            bound(sql).expect("bound"),
            "select DATE '2024-01-31', DATE '2024-01-31', 'on 2024-01-31', 'it''s \
             2024-01-31', \"{x}\", \"on 2024-01-31\" from t \
             where d = DATE '2024-01-30'"
        );
    }

    #[test]
    fn a_quote_in_a_comment_or_a_name_opens_no_quotes() {
        for before in [
            "-- today's rows\n",
            "/* it's\n 'so */",
            "/* a /* nested's */ one */",
            "select \"it's\", 4 - 1 / 2 * 3, ",
            "-- é\n",
        ] {
            assert_eq!(
                bound(&format!("{before}{{date}}")).expect("bound"),
                format!("{before}DATE '2024-01-31'")
            );
        }
        assert_eq!(
            bound("-- {date} {ds}\n'{date} -- '{date}").expect("bound"),
            "-- {date} {ds}\n'2024-01-31 -- 'DATE '2024-01-31'"
        );
        assert_eq!(
            bound("select $$it's {date}$$, {date}").expect("bound"),
            "select $$it's 2024-01-31$$, DATE '2024-01-31'"
        );
        assert_eq!(
            bound("select 'ü\n{date}' || '{date}'").expect("bound"),
            "select 'ü\n2024-01-31' || '2024-01-31'"
        );
        assert!(
            bound("select '{date}")
                .expect_err("it does not end")
                .to_string()
                .starts_with("the job's SQL: Unterminated string")
        );
    }

    #[test]
    fn a_format_gives_the_text_as_it_is() {
        let sql = "select * from t where k = '{date:%Y%m%d}' and n = {date:%Y%m%d} and w = \
         '{yesterday:%G-W%V}' and s = '{START:%H:%M %z}'";
        let expected = "select * from t where k = '20240131' and n = 20240131 and w = '2024-W05' \
         and s = '00:00 +0000'";
        assert_eq!(bound(sql).expect("bound"), expected);
        for wrong in [
            "select {date:%H}",
            "select '{date:%Q}'",
            "select {start:%!}",
        ] {
            assert!(
                bound(wrong)
                    .expect_err(wrong)
                    .to_string()
                    .contains("is not a format of a"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_day_is_as_long_as_its_zone_makes_it() {
        let of = |date: &str, zone: Tz| {
            let day = JobDay {
                date: parse_date(date).expect("a date"),
                zone,
            };
            bind("{start} '{end}'", day, SqlOf::Job).expect("bound")
        };
        assert_eq!(
            of("2024-01-31", Tz::UTC),
            "TIMESTAMPTZ '2024-01-31T00:00:00Z' '2024-02-01T00:00:00Z'"
        );
        assert_eq!(
            of("2024-03-31", Tz::Europe__Berlin),
            "TIMESTAMPTZ '2024-03-30T23:00:00Z' '2024-03-31T22:00:00Z'"
        );
        // Midnight was skipped.
        assert_eq!(
            of("2018-11-04", Tz::America__Sao_Paulo),
            "TIMESTAMPTZ '2018-11-04T03:00:00Z' '2018-11-05T02:00:00Z'"
        );
    }

    #[test]
    fn another_placeholder_is_refused() {
        for sql in [
            "select {ds}",
            "select '{ds}'",
            "select x from t where d = '{execution_date}'",
            "select {today}",
            "select {{ ds }}, {ds}",
        ] {
            let error = bound(sql).expect_err(sql);
            assert!(
                error.to_string().contains("there is no placeholder {")
                    && error.hints() == [KNOWN_IN_JOBS],
                "{error}"
            );
        }
        for sql in [
            "select '{\"a\": 1}'",
            "select replace(x, '{name}', y) from t",
            "-- {ds}\nselect 1",
            "select \"{ds}\" from t",
            "{a: 1}",
        ] {
            assert_eq!(bound(sql).expect(sql), sql);
        }
    }

    #[test]
    fn each_database_has_its_own_quotes_comments_and_dates() {
        let cases = [
            (
                SqlOf::Postgres,
                r#"select '\', {date}, E'\'{date}', $q$'{date}$q$, "t_{date:%Y%m%d}" -- '{date}"#,
                r#"select '\', DATE '2024-01-31', E'\'2024-01-31', $q$'2024-01-31$q$, "t_20240131" -- '{date}"#,
            ),
            (
                SqlOf::Mysql,
                r#"select '\'', {date}, "it's {yesterday}", `it's {date:%d}` # it's {date}"#,
                r#"select '\'', DATE '2024-01-31', "it's 2024-01-30", `it's 31` # it's {date}"#,
            ),
            (
                SqlOf::Sqlite,
                r#"select '\', {date}, [it's], `it's`, '{date}' from t_{date:%Y%m%d}"#,
                r#"select '\', '2024-01-31', [it's], `it's`, '2024-01-31' from t_20240131"#,
            ),
        ];
        for (of, sql, expected) in cases {
            assert_eq!(bind_of(sql, of).expect(sql), expected);
            for wrong in ["select {end}", "select {ds}", "select '{ds}'"] {
                let error = bind_of(wrong, of).expect_err(wrong);
                assert!(
                    error.to_string().starts_with("the query: there is no")
                        && error.hints() == [KNOWN_IN_SOURCES],
                    "{error}"
                );
            }
        }
        let arrays = "select '{1,2}'::int[], '{a,b}'::text[], '{}'";
        assert_eq!(bind_of(arrays, SqlOf::Postgres).expect(arrays), arrays);
    }
}
