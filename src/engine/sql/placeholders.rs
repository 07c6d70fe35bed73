//! Placeholders: what stands for the date that is run in a job's SQL.
//!
//! | placeholder | as SQL | within quotes |
//! | --- | --- | --- |
//! | `{date}`, `{yesterday}` | `DATE '2024-01-31'` | `2024-01-31` |
//! | `{start}`, `{end}` | `TIMESTAMPTZ '2024-01-31T00:00:00Z'` | `2024-01-31T00:00:00Z` |
//! | `{date:%Y%m%d}`, any of them | the formatted text, `20240131` | the same |
//!
//! Names are read in either case. The day begins at `{start}` and ends before `{end}`, in the time
//! zone of the job. Quotes and comments are those that the SQL parser sees: text within quotes gets
//! no second pair of them, and comments are left as they are.

use std::fmt::Write as _;
use std::ops::Range;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer, Whitespace};

use crate::error::{Error, Result};

/// The placeholders, for hints.
const KNOWN: &str =
    "the placeholders are {date}, {yesterday}, {start} and {end}, and with a format {date:%Y%m%d}";

/// The date that a job runs for, in its time zone.
#[derive(Clone, Copy, Debug)]
pub struct JobDay {
    /// The date.
    pub date: NaiveDate,
    /// The time zone in which the day begins and ends.
    pub zone: Tz,
}

impl JobDay {
    /// A date whose day begins and ends at midnight in UTC.
    pub fn utc(date: NaiveDate) -> Self {
        JobDay {
            date,
            zone: Tz::UTC,
        }
    }

    /// When the day begins: at midnight, or at the first moment after it that the zone has.
    pub fn start(&self) -> DateTime<Tz> {
        begin(self.date, self.zone)
    }

    /// When the next day begins.
    pub fn end(&self) -> DateTime<Tz> {
        begin(self.date + Days::new(1), self.zone)
    }
}

fn begin(date: NaiveDate, zone: Tz) -> DateTime<Tz> {
    let midnight = date.and_time(NaiveTime::MIN);
    // Some zones skip midnight, and Samoa skipped a whole day.
    let quarters = (0..=4 * 25).map(|quarter| midnight + TimeDelta::minutes(15 * quarter));
    let first = quarters
        .filter_map(|time| zone.from_local_datetime(&time).earliest())
        .next();
    first.unwrap_or_else(|| zone.from_utc_datetime(&midnight))
}

/// What a placeholder stands for.
#[derive(Clone, Copy)]
enum PlaceholderValue {
    Date(NaiveDate),
    Time(DateTime<Tz>),
}

impl PlaceholderValue {
    /// The value of a name, which may be written in either case.
    fn of(name: &str, day: JobDay) -> Option<PlaceholderValue> {
        Some(match name.to_ascii_lowercase().as_str() {
            "date" => PlaceholderValue::Date(day.date),
            "yesterday" => PlaceholderValue::Date(day.date - Days::new(1)),
            "start" => PlaceholderValue::Time(day.start()),
            "end" => PlaceholderValue::Time(day.end()),
            _ => return None,
        })
    }

    fn text(self) -> String {
        match self {
            PlaceholderValue::Date(date) => date.to_string(),
            PlaceholderValue::Time(time) => time
                .with_timezone(&Utc)
                .to_rfc3339_opts(SecondsFormat::Secs, true),
        }
    }

    fn literal(self) -> String {
        match self {
            PlaceholderValue::Date(_) => format!("DATE '{}'", self.text()),
            PlaceholderValue::Time(_) => format!("TIMESTAMPTZ '{}'", self.text()),
        }
    }

    fn formatted(self, format: &str) -> Result<String> {
        let items: Vec<Item<'_>> = StrftimeItems::new(format).collect();
        let mut text = String::new();
        let done = match self {
            _ if items.contains(&Item::Error) => Err(std::fmt::Error),
            PlaceholderValue::Date(date) => {
                write!(text, "{}", date.format_with_items(items.iter()))
            }
            PlaceholderValue::Time(time) => {
                write!(text, "{}", time.format_with_items(items.iter()))
            }
        };
        done.map_err(|_| {
            Error::usage(format!(
                "the job's SQL: '{format}' is not a format of a {}",
                if matches!(self, PlaceholderValue::Date(_)) {
                    "date"
                } else {
                    "time"
                }
            ))
            .hint(
                "a format is written as in strftime, such as {date:%Y%m%d} or \
                 {start:%Y-%m-%d %H:%M:%S}",
            )
        })?;
        Ok(text)
    }
}

/// Puts the values of a day in the places of the placeholders.
///
/// # Errors
/// A usage error for another name in braces, such as the `{ds}` of a scheduler's templates, for a
/// wrong format, and for quotes that do not end.
pub fn bind(sql: &str, day: JobDay) -> Result<String> {
    if !sql.contains('{') {
        return Ok(sql.to_owned());
    }
    let mut bound = String::with_capacity(sql.len());
    let mut from = 0;
    for (quoted, kind) in quoted(sql)? {
        bind_part(&sql[from..quoted.start], day, SqlPart::Code, &mut bound)?;
        bind_part(&sql[quoted.clone()], day, kind, &mut bound)?;
        from = quoted.end;
    }
    bind_part(&sql[from..], day, SqlPart::Code, &mut bound)?;
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
fn quoted(sql: &str) -> Result<Vec<(Range<usize>, SqlPart)>> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .with_unescape(false)
        .tokenize_with_location();
    let tokens = tokens.map_err(|error| Error::usage(format!("the job's SQL: {error}")))?;
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
pub(super) struct MarkedPlace<'a> {
    sql: &'a str,
    at: usize,
    line: u64,
    column: u64,
}

impl<'a> MarkedPlace<'a> {
    /// The beginning of a text.
    pub(super) fn start(sql: &'a str) -> Self {
        MarkedPlace {
            sql,
            at: 0,
            line: 1,
            column: 1,
        }
    }

    /// The byte at a line and column, both of which count characters from 1.
    pub(super) fn byte(&mut self, to: Location) -> usize {
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

fn bind_part(sql: &str, day: JobDay, part: SqlPart, bound: &mut String) -> Result<()> {
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
        let value = PlaceholderValue::of(name, day)
            .filter(|_| format.is_none_or(|format| format.contains('%')));
        match (value, format) {
            (Some(value), Some(format)) => bound.push_str(&value.formatted(format)?),
            (Some(value), None) if part == SqlPart::Code => bound.push_str(&value.literal()),
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
                    return Err(Error::usage(format!(
                        "the job's SQL: there is no placeholder {{{inside}}}"
                    ))
                    .hint(KNOWN));
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

    fn bound(sql: &str) -> Result<String> {
        bind(sql, JobDay::utc(parse_date("2024-01-31").expect("a date")))
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
            bind("{start} '{end}'", day).expect("bound")
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
                error.to_string().contains("there is no placeholder {") && error.hints() == [KNOWN],
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
}
