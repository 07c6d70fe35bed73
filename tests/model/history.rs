//! Random histories of one table, each from a seed.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, TimeUnit};
use chrono::{Days, NaiveDate};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use super::value::Value;

/// Cells by column.
pub(super) type Row = BTreeMap<String, Value>;

/// What a missing date means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Carry,
    Error,
    Split,
}

/// What a join keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Inner,
    Left,
    Semi,
    Anti,
}

/// Where the copies are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the lake.
    Own,
    /// In another tool's, in Parquet, under a layout.
    Parquet(&'static str),
    /// In another tool's, in CSV; `true` declares the types.
    Csv(&'static str, bool),
}

/// What values a column has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Long,
    Tiny,
    Real,
    Text,
    Day,
    Moment,
    Money,
    Tags,
    Point,
    Nothing,
}

/// A column and the types that it takes on over time.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) types: Vec<DataType>,
}

/// The table on one date; rows by key, each with every column of the date but the key's.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) date: NaiveDate,
    pub(super) columns: Vec<(String, DataType)>,
    pub(super) rows: BTreeMap<Vec<Value>, Row>,
}

/// How ends are written, and the columns' names.
#[derive(Clone, Debug)]
pub(super) struct Convention {
    pub(super) start: String,
    pub(super) end: String,
    pub(super) exclusive: bool,
    pub(super) open_null: bool,
}

/// Everything about one table that is random.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) place: Place,
    pub(super) key: Vec<Column>,
    pub(super) columns: Vec<Column>,
    pub(super) pool: Vec<Vec<Value>>,
    pub(super) snapshots: Vec<Snapshot>,
    pub(super) policy: Policy,
    pub(super) ignore: Vec<String>,
    pub(super) track: Vec<String>,
    pub(super) convention: Convention,
}

const LAYOUTS: [&str; 3] = ["snapshot_date=%Y-%m-%d", "year=%Y/month=%m/day=%d", "%Y/%j"];
const DAY: i64 = 86_400_000_000;

/// The generator of a seed.
pub(super) fn generator(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

impl History {
    /// A history.
    pub(super) fn random(rng: &mut StdRng) -> Self {
        let place = match rng.random_range(0..10) {
            0..5 => Place::Own,
            5..8 => Place::Parquet(
                [&LAYOUTS[..], &["%Y/%m/copy-%d.parquet"]]
                    .concat()
                    .choose(rng)
                    .unwrap(),
            ),
            _ => Place::Csv(LAYOUTS.choose(rng).unwrap(), rng.random()),
        };
        let policy = *[Policy::Carry, Policy::Carry, Policy::Split, Policy::Error]
            .choose(rng)
            .unwrap();
        let key = key_columns(rng, &place);
        let columns: Vec<Column> = (0..rng.random_range(1..6))
            .map(|at| column(rng, &place, format!("c{at}")))
            .collect();
        let pool = key_pool(rng, &key);
        let mut history = History {
            place,
            key,
            columns,
            pool,
            snapshots: Vec::new(),
            policy,
            ignore: Vec::new(),
            track: Vec::new(),
            convention: convention(rng),
        };
        let mut date = NaiveDate::from_ymd_opt(2024, 2, 20).unwrap();
        for _ in 0..rng.random_range(3..13) {
            let next = history.next_day(rng, date);
            history.snapshots.push(next);
            let gap = if policy != Policy::Error && rng.random_bool(0.25) {
                rng.random_range(1..6)
            } else {
                0
            };
            date = date + Days::new(1 + gap);
        }
        history.choose_compared(rng);
        history
    }

    /// Whether a change of the column ends intervals.
    pub(super) fn counts(&self, name: &str) -> bool {
        if self.track.is_empty() {
            !self.ignore.iter().any(|column| column == name)
        } else {
            self.track.iter().any(|column| column == name)
        }
    }

    /// Whether every column counts.
    pub(super) fn counts_all(&self) -> bool {
        self.track.is_empty() && self.ignore.is_empty()
    }

    /// The longest gap, in missing days.
    pub(super) fn longest_gap(&self) -> u32 {
        let gaps = self
            .snapshots
            .windows(2)
            .map(|pair| (pair[1].date - pair[0].date).num_days() - 1);
        u32::try_from(gaps.max().unwrap_or(0)).unwrap()
    }

    /// Another state of a date, in the columns that it has.
    pub(super) fn rewrite(&mut self, rng: &mut StdRng, at: usize) {
        let mut rows = self.snapshots[at].rows.clone();
        let columns = self.snapshots[at].columns.clone();
        self.change(rng, &mut rows, &columns);
        self.snapshots[at].rows = rows;
    }

    /// Columns that the first date has are ignored or tracked, so that every run knows them.
    fn choose_compared(&mut self, rng: &mut StdRng) {
        let here = |column: &&Column| {
            self.snapshots[0]
                .columns
                .iter()
                .any(|(name, _)| *name == column.name)
        };
        let mut names: Vec<String> = self
            .columns
            .iter()
            .filter(here)
            .map(|column| column.name.clone())
            .collect();
        names.shuffle(rng);
        names.truncate(rng.random_range(1..4));
        match rng.random_range(0..5) {
            0 => self.ignore = names,
            1 => self.track = names,
            _ => {}
        }
    }

    fn next_day(&self, rng: &mut StdRng, date: NaiveDate) -> Snapshot {
        let Some(before) = self.snapshots.last() else {
            let mut first = Snapshot {
                date,
                columns: self.day_columns(rng, None),
                rows: BTreeMap::new(),
            };
            for key in self
                .pool
                .iter()
                .filter(|_| rng.random_bool(0.6))
                .cloned()
                .collect::<Vec<_>>()
            {
                let row = self.row(rng, &first.columns);
                first.rows.insert(key, row);
            }
            return first;
        };
        let columns = self.day_columns(rng, Some(&before.columns));
        let mut rows = BTreeMap::new();
        if rng.random_bool(0.03) {
            return Snapshot {
                date,
                columns,
                rows,
            };
        }
        // A table may come back as it was: A to B to A, deleted and returned.
        let from = if rng.random_bool(0.15) {
            self.snapshots.choose(rng).unwrap()
        } else {
            before
        };
        for (key, row) in &from.rows {
            rows.insert(zeros(rng, key), self.carried(rng, row, &columns));
        }
        if rng.random_bool(0.65) {
            self.change(rng, &mut rows, &columns);
        }
        Snapshot {
            date,
            columns,
            rows,
        }
    }

    /// A row of the day before in today's columns: what is new is mostly null.
    fn carried(&self, rng: &mut StdRng, row: &Row, columns: &[(String, DataType)]) -> Row {
        let mut carried = Row::new();
        for column in self
            .columns
            .iter()
            .filter(|column| columns.iter().any(|(name, _)| *name == column.name))
        {
            let fresh = rng.random_bool(0.3);
            let value = row.get(&column.name).cloned();
            carried.insert(
                column.name.clone(),
                value.unwrap_or_else(|| {
                    if fresh {
                        self.value(rng, column.kind)
                    } else {
                        Value::Null
                    }
                }),
            );
        }
        carried
    }

    fn change(
        &self,
        rng: &mut StdRng,
        rows: &mut BTreeMap<Vec<Value>, Row>,
        columns: &[(String, DataType)],
    ) {
        for _ in 0..rng.random_range(1..4) {
            let key = self.pool.choose(rng).unwrap().clone();
            match rng.random_range(0..3) {
                0 => drop(rows.remove(&key)),
                _ => drop(rows.insert(key, self.row(rng, columns))),
            }
        }
    }

    fn row(&self, rng: &mut StdRng, columns: &[(String, DataType)]) -> Row {
        let here = self
            .columns
            .iter()
            .filter(|column| columns.iter().any(|(name, _)| *name == column.name));
        here.map(|column| (column.name.clone(), self.value(rng, column.kind)))
            .collect()
    }

    fn value(&self, rng: &mut StdRng, kind: Kind) -> Value {
        let value = if rng.random_bool(0.2) {
            Value::Null
        } else {
            values(kind).choose(rng).unwrap().clone()
        };
        match (&self.place, value) {
            // In a CSV an empty text is null, and types that are not declared are guessed.
            (Place::Csv(..), Value::Text(text)) if text.is_empty() => Value::Null,
            (Place::Csv(_, false), Value::Real(value)) if !value.is_finite() => Value::Real(0.5),
            (_, value) => value,
        }
    }

    /// The columns of a day with their types; `before` are those of the day before.
    fn day_columns(
        &self,
        rng: &mut StdRng,
        before: Option<&[(String, DataType)]>,
    ) -> Vec<(String, DataType)> {
        let fixed = matches!(self.place, Place::Csv(..));
        let all = self
            .key
            .iter()
            .map(|column| (true, column))
            .chain(self.columns.iter().map(|column| (false, column)));
        let mut columns = Vec::new();
        for (key, column) in all {
            let was =
                before.and_then(|before| before.iter().find(|(name, _)| *name == column.name));
            let there = match (before, was) {
                (None, _) => key || fixed || rng.random_bool(0.8),
                (Some(_), was) => key || fixed || was.is_some() != rng.random_bool(0.08),
            };
            let kept = was
                .filter(|_| !rng.random_bool(0.06))
                .map(|(_, data_type)| data_type.clone());
            // Types begin narrow, so that they widen.
            let data_type = kept.unwrap_or_else(|| {
                let reach = if before.is_none() {
                    1
                } else {
                    column.types.len()
                };
                column.types[..reach].choose(rng).unwrap().clone()
            });
            if there {
                columns.push((column.name.clone(), data_type));
            }
        }
        if rng.random_bool(if before.is_none() { 0.5 } else { 0.1 }) && !fixed {
            columns.shuffle(rng);
        }
        columns
    }
}

fn convention(rng: &mut StdRng) -> Convention {
    let renamed = rng.random_bool(0.3);
    Convention {
        start: if renamed {
            "valid_from"
        } else {
            "active_start"
        }
        .into(),
        end: if renamed { "valid_to" } else { "active_end" }.into(),
        exclusive: rng.random_bool(0.3),
        open_null: rng.random_bool(0.3),
    }
}

/// A key with one zero or the other, which are one key.
fn zeros(rng: &mut StdRng, key: &[Value]) -> Vec<Value> {
    let flip = |value: &Value| match value {
        Value::Real(real) if *real == 0.0 => Value::Real(if rng.random() { 0.0 } else { -0.0 }),
        other => other.clone(),
    };
    key.iter().map(flip).collect()
}

fn key_columns(rng: &mut StdRng, place: &Place) -> Vec<Column> {
    let kinds: &[&[Kind]] = match place {
        Place::Csv(..) => &[
            &[Kind::Long],
            &[Kind::Text],
            &[Kind::Day],
            &[Kind::Int, Kind::Text],
        ],
        _ => &[
            &[Kind::Long],
            &[Kind::Int],
            &[Kind::Text],
            &[Kind::Day],
            &[Kind::Real],
            &[Kind::Tiny],
            &[Kind::Money],
            &[Kind::Moment],
            &[Kind::Text, Kind::Text],
            &[Kind::Int, Kind::Text],
            &[Kind::Real, Kind::Bool, Kind::Day],
        ],
    };
    let chosen = kinds.choose(rng).unwrap();
    chosen
        .iter()
        .enumerate()
        .map(|(at, kind)| Column {
            name: format!("k{at}"),
            kind: *kind,
            types: types(*kind, place),
        })
        .collect()
}

/// Up to twelve distinct keys.
fn key_pool(rng: &mut StdRng, key: &[Column]) -> Vec<Vec<Value>> {
    let mut pool = std::collections::BTreeSet::new();
    for _ in 0..rng.random_range(1..13) {
        pool.insert(
            key.iter()
                .map(|column| key_value(rng, column.kind))
                .collect(),
        );
    }
    pool.into_iter().collect()
}

fn key_value(rng: &mut StdRng, kind: Kind) -> Value {
    match kind {
        Kind::Int => Value::Int(rng.random_range(-3..9)),
        Kind::Day => Value::Time(rng.random_range(18_000..18_012) * DAY),
        Kind::Text => Value::Text(
            ["a", "b", "ab", "bc", "a b", "ä", "Z", "abc", "c"]
                .choose(rng)
                .unwrap()
                .to_string(),
        ),
        kind => values(kind).choose(rng).unwrap().clone(),
    }
}

fn column(rng: &mut StdRng, place: &Place, name: String) -> Column {
    use Kind::*;
    let kinds: &[Kind] = match place {
        Place::Csv(_, true) => &[Bool, Long, Real, Text, Day, Money],
        Place::Csv(_, false) => &[Bool, Long, Real, Text, Day],
        _ => &[
            Bool, Int, Int, Long, Tiny, Real, Text, Text, Day, Moment, Money, Tags, Point, Nothing,
        ],
    };
    let kind = *kinds.choose(rng).unwrap();
    Column {
        name,
        kind,
        types: types(kind, place),
    }
}

/// The types that a column of a kind may have, each of which widens to the next.
fn types(kind: Kind, place: &Place) -> Vec<DataType> {
    use DataType as T;
    let utc = |unit| T::Timestamp(unit, Some("UTC".into()));
    let mut types = match kind {
        Kind::Bool => vec![T::Boolean],
        Kind::Int => vec![T::Int32, T::Int64, T::Float64],
        Kind::Long => vec![T::Int64],
        Kind::Tiny => vec![T::UInt8, T::Int16, T::Int64],
        Kind::Real => vec![T::Float32, T::Float64],
        Kind::Text => vec![
            T::Utf8,
            T::LargeUtf8,
            T::Dictionary(Box::new(T::Int32), Box::new(T::Utf8)),
        ],
        Kind::Day => vec![
            T::Date32,
            T::Timestamp(TimeUnit::Millisecond, None),
            T::Timestamp(TimeUnit::Microsecond, None),
        ],
        Kind::Moment => vec![utc(TimeUnit::Millisecond), utc(TimeUnit::Microsecond)],
        Kind::Money => vec![T::Decimal128(10, 2), T::Decimal128(12, 4)],
        Kind::Tags => vec![T::List(Field::new("item", T::Utf8, true).into())],
        Kind::Point => vec![T::Struct(
            vec![
                Field::new("x", T::Int64, true),
                Field::new("y", T::Utf8, true),
            ]
            .into(),
        )],
        Kind::Nothing => vec![T::Null, T::Int32],
    };
    if matches!(place, Place::Csv(..)) {
        types = match kind {
            Kind::Int => vec![T::Int64],
            Kind::Real => vec![T::Float64],
            _ => types[..1].to_vec(),
        };
    }
    types
}

/// A few values of a kind, so that what changed often changes back.
fn values(kind: Kind) -> Vec<Value> {
    let text = |text: &str| Value::Text(text.into());
    match kind {
        Kind::Bool => vec![Value::Bool(false), Value::Bool(true)],
        Kind::Int => [0, 1, -1, 7, 2_000_000_000].map(Value::Int).into(),
        Kind::Long => [0, 1, -1, i64::MIN, i64::MAX, (1 << 53) + 1]
            .map(Value::Int)
            .into(),
        Kind::Tiny => [0, 1, 255].map(Value::Int).into(),
        Kind::Real => [
            0.0,
            -0.0,
            1.5,
            -2.25,
            1.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ]
        .map(Value::Real)
        .into(),
        Kind::Text => ["", "a", "ab", "ä", "b c"].map(text).into(),
        Kind::Day => [0, 1, 19_000, -1].map(|day| Value::Time(day * DAY)).into(),
        Kind::Moment => [0, 1_000, 19_000 * DAY, 19_000 * DAY - 1_000]
            .map(Value::Time)
            .into(),
        Kind::Money => [0, 100, 120_000, -99_999_900].map(Value::Decimal).into(),
        Kind::Tags => vec![
            Value::List(vec![]),
            Value::List(vec![Value::Null]),
            Value::List(vec![text("")]),
            Value::List(vec![text("a"), text("b")]),
            Value::List(vec![text("ab")]),
        ],
        Kind::Point => vec![
            Value::Struct(vec![Value::Null, Value::Null]),
            Value::Struct(vec![Value::Int(1), Value::Null]),
            Value::Struct(vec![Value::Int(1), text("a")]),
        ],
        Kind::Nothing => vec![Value::Null],
    }
}
