//! What type a column of text holds, from all of its values.
//!
//! A value is looked at once, as it is read, with its file and line. If the column's type is
//! declared, the value is of that type or is refused there and then. Otherwise [`Guess`] remembers
//! what the values have in common, and [`Guess::decide`] chooses at the end: the type that the
//! column had so far, if all values are of it; a wider one of its family that holds both; or, for a
//! column without a past, the type that all values agree on.
//!
//! Whichever it is, every value is known to be of it exactly, by the rules of
//! [`crate::domain::text`].

mod pieces;

use arrow::datatypes::{DataType, TimeUnit};

use super::pins::Pins;
use super::{Input, TypeRules};
use crate::domain::notation::Notation;
use crate::domain::text::{self, Number};
use crate::domain::type_names::type_name;
use crate::domain::widening::widen;
use crate::error::{Error, Result, shorten};

/// The type of a column in which no file has a value, and that had none so far.
const TYPE_OF_EMPTY_COLUMN: DataType = DataType::Null;

/// Every float64 near a whole number up to here is that number alone.
const EXACT_WHOLE: u128 = 1 << 53;

/// Where a value stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ValuePlace {
    /// The number of its file.
    pub(super) file: usize,
    /// Its line, from 1.
    pub(super) line: u64,
}

impl ValuePlace {
    /// The place as errors name it.
    pub(super) fn in_words(self, inputs: &[Input]) -> String {
        let name = inputs
            .get(self.file)
            .map_or("the source", |input| input.name.as_str());
        format!("{name}, line {}", self.line)
    }
}

/// The first value that is not of a type, as messages show it, and where it stands.
type Misfit = Option<(ValuePlace, String)>;

fn note(misfit: &mut Misfit, place: ValuePlace, value: &str) {
    if misfit.is_none() {
        *misfit = Some((place, shorten(value)));
    }
}

/// What has to be known of the values, from what is known of the column before they are seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Wanted {
    /// Everything: the column's type is what the values agree on.
    #[default]
    Any,
    /// Nothing: it is a column of text.
    Text,
    /// Whether they are of one type, which is not widened.
    Fixed(DataType),
    /// Whether there are any: text is not read as the column's type.
    None,
    /// The numbers, of a column that was of this type.
    Numbers(DataType),
    /// The dates and timestamps.
    Moments,
}

/// How values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Written {
    /// As the text of a format without types.
    #[default]
    Plain,
    /// As numbers of JSON, which are numbers however they are written.
    JsonNumbers,
    /// As strings of JSON.
    JsonStrings,
}

/// Whether a program's text for a value of a type is understood alike by all programs. Bytes and
/// durations are not: one writes hexadecimal digits, one escapes, one the bytes themselves.
pub(super) fn is_understood(data_type: &DataType) -> bool {
    match data_type {
        DataType::Binary | DataType::Duration(_) => false,
        DataType::List(item) => is_understood(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_understood(field.data_type())),
        DataType::Map(entries, _) => is_understood(entries.data_type()),
        _ => true,
    }
}

/// What the commas in a column of text may be, if all of its values are numbers with commas read
/// so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commas {
    /// Decimal commas: `1,5`.
    Decimal,
    /// Decimal commas beside points between thousands: `1.234,50`.
    DecimalWithThousands,
    /// Decimal commas or commas between thousands: `1,500`.
    Either,
}

/// Looks for numbers among values that are not numbers in the notation of their file.
#[derive(Clone, Debug, Default)]
struct CommaWatch {
    /// Whether a value is not a number whatever its commas are.
    is_text: bool,
    /// The first value with a comma.
    example: Option<String>,
    has_points: bool,
    has_decimals: bool,
}

impl CommaWatch {
    fn see(&mut self, text: &str) {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_whole = (digits.len() == 1 || !digits.starts_with('0'))
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        if self.is_text || is_whole {
            return;
        }
        let comma = Notation {
            decimal: Some(','),
            ..Notation::default()
        };
        let grouped = Notation {
            thousands: Some('.'),
            ..comma.clone()
        };
        let fits = |notation: &Notation| {
            notation.fits(text, &DataType::Float64)
                && text.bytes().all(|byte| byte != b'e' && byte != b'E')
        };
        let has_point = !fits(&comma);
        self.is_text = has_point && !fits(&grouped);
        self.has_points |= has_point;
        let Some((whole, fraction)) = text.split_once(',') else {
            return;
        };
        let whole = whole.trim_start_matches('-');
        let may_be_thousands = fraction.len() == 3
            && (1..=3).contains(&whole.len())
            && !whole.starts_with('0')
            && !has_point;
        self.has_decimals |= !may_be_thousands;
        self.example.get_or_insert_with(|| shorten(text));
    }

    fn found(&self) -> Option<(Commas, &str)> {
        let example = self.example.as_deref().filter(|_| !self.is_text)?;
        let commas = match (self.has_points, self.has_decimals) {
            (true, _) => Commas::DecimalWithThousands,
            (false, true) => Commas::Decimal,
            (false, false) => Commas::Either,
        };
        Some((commas, example))
    }
}

/// What the values of one column have shown so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Guess {
    declared: Option<DataType>,
    pinned: Option<DataType>,
    /// Whether a column that is not of the type that it had is text, and not refused.
    gives_way: bool,
    wanted: Wanted,
    written: Written,
    /// How numbers, dates and timestamps are written.
    notation: Notation,
    seen: bool,
    /// Of a column whose type is fixed, the first value that is not of it.
    not_fixed: Misfit,
    not_whole: Misfit,
    /// The least and the greatest whole number.
    least: Option<(i128, ValuePlace)>,
    most: Option<(i128, ValuePlace)>,
    not_number: Misfit,
    not_float64: Misfit,
    not_float32: Misfit,
    not_decimal: Misfit,
    /// The most digits before the point, and after it; and the last value that had more than those
    /// before it.
    decimal_digits: (u8, u8),
    longest: (ValuePlace, String),
    has_exponent: bool,
    has_fraction: bool,
    not_bool: Misfit,
    not_date: Misfit,
    not_day: Misfit,
    not_timestamp: Misfit,
    not_utc: Misfit,
    /// The first timestamp that needs nanoseconds, and the first that they do not reach.
    finer_than_us: Misfit,
    beyond_ns: Misfit,
    finer_than_ms: Misfit,
    commas: CommaWatch,
}

impl Guess {
    /// A column of text by the rules.
    pub(super) fn of(column: &str, rules: &TypeRules, pins: &Pins<'_>) -> Self {
        match rules.declared(column) {
            Some(DataType::Utf8) => Guess {
                declared: Some(DataType::Utf8),
                wanted: Wanted::Text,
                ..Guess::default()
            },
            Some(declared) => Guess {
                declared: Some(declared.clone()),
                wanted: Wanted::Fixed(declared.clone()),
                ..Guess::default()
            },
            None => Guess {
                gives_way: rules.external,
                ..Guess::pinned(pins.of(column), Written::Plain)
            },
        }
    }

    /// The same column, whose values are written in a notation.
    pub(super) fn in_notation(self, notation: &Notation) -> Self {
        Guess {
            notation: notation.clone(),
            ..self
        }
    }

    /// A column that had a type so far, or none.
    pub(super) fn pinned(pinned: Option<&DataType>, written: Written) -> Self {
        let wanted = match pinned {
            None | Some(DataType::Null) => Wanted::Any,
            Some(DataType::Utf8) => Wanted::Text,
            Some(pinned) if !is_understood(pinned) => Wanted::None,
            Some(pinned) if pinned.is_numeric() => Wanted::Numbers(pinned.clone()),
            Some(DataType::Date32 | DataType::Timestamp(..)) => Wanted::Moments,
            Some(other) => Wanted::Fixed(other.clone()),
        };
        Guess {
            pinned: pinned.cloned(),
            wanted,
            written,
            ..Guess::default()
        }
    }

    /// Looks at one value.
    pub(super) fn see(&mut self, text: &str, place: ValuePlace) {
        self.seen = true;
        match &self.wanted {
            Wanted::Text => {}
            Wanted::None => note(&mut self.not_fixed, place, text),
            Wanted::Fixed(data_type) => {
                if self.not_fixed.is_none() && !self.notation.fits(text, data_type) {
                    note(&mut self.not_fixed, place, text);
                }
            }
            Wanted::Numbers(_) => self.see_number(text, place),
            Wanted::Moments => self.see_moment(text, place),
            Wanted::Any => {
                self.commas.see(text);
                self.see_number(text, place);
                self.see_moment(text, place);
                if self.not_bool.is_none() && text::boolean(text).is_none() {
                    note(&mut self.not_bool, place, text);
                }
            }
        }
    }

    fn see_number(&mut self, text: &str, place: ValuePlace) {
        let was = |of: fn(&DataType) -> bool| matches!(&self.wanted, Wanted::Numbers(pinned) if of(pinned));
        let is_decimal = was(|pinned| matches!(pinned, DataType::Decimal128(..)));
        let is_float32 = was(|pinned| pinned == &DataType::Float32);
        let is_float = is_float32 || was(|pinned| pinned == &DataType::Float64);
        // Nothing is left to be known. Of numbers, whether a later one has a fraction is.
        let is_text = self.not_whole.is_some() && self.not_number.is_some();
        if is_text && !was(|_| true) {
            return;
        }
        // No number is empty.
        let digits = self.notation.number(text).unwrap_or_default();
        let whole = if self.not_whole.is_none() {
            text::integer::<i128>(&digits)
        } else {
            None
        };
        match whole {
            Some(value) => {
                if self.least.is_none_or(|(least, _)| value < least) {
                    self.least = Some((value, place));
                }
                if self.most.is_none_or(|(most, _)| value > most) {
                    self.most = Some((value, place));
                }
            }
            None => note(&mut self.not_whole, place, text),
        }
        let is_exact = |value: i128| value.unsigned_abs() <= EXACT_WHOLE;
        if whole.is_some_and(is_exact) && !is_decimal && !is_float32 {
            // It is a number and a float64, without a fraction or an exponent.
            return;
        }
        let number = Number::parse(&digits);
        self.has_exponent |= number.is_some_and(|number| number.exponent.is_some());
        self.has_fraction |= number.is_some_and(|number| !number.fraction.is_empty());
        if is_decimal {
            self.see_decimal(number, text, place);
        }
        if self.not_number.is_none() || is_float {
            let float = text::float64(&digits);
            if float.is_none() {
                note(&mut self.not_float64, place, text);
            }
            // A longer code among numbers is text.
            let is_plain = number
                .is_some_and(|number| number.fraction.is_empty() && number.exponent.is_none());
            #[allow(clippy::cast_precision_loss, reason = "a power of two")]
            let is_sure = |value: f64| !is_plain || value.abs() <= EXACT_WHOLE as f64;
            let is_number =
                number.is_some_and(|number| !number.whole.is_empty()) && float.is_some_and(is_sure);
            if !is_number {
                note(&mut self.not_number, place, text);
            }
        }
        if is_float32 && self.not_float32.is_none() && text::float32(&digits).is_none() {
            note(&mut self.not_float32, place, text);
        }
    }

    fn see_decimal(&mut self, number: Option<Number<'_>>, text: &str, place: ValuePlace) {
        let Some((before, after)) = number.and_then(|number| number.decimal_digits()) else {
            note(&mut self.not_decimal, place, text);
            return;
        };
        let most = (
            self.decimal_digits.0.max(before),
            self.decimal_digits.1.max(after),
        );
        if most != self.decimal_digits {
            (self.decimal_digits, self.longest) = (most, (place, shorten(text)));
        }
    }

    fn see_moment(&mut self, text: &str, place: ValuePlace) {
        let is_loose = self.wanted == Wanted::Moments;
        if self.not_timestamp.is_some()
            && self.not_utc.is_some()
            && self.not_date.is_some()
            && self.not_day.is_some()
        {
            return;
        }
        let Some(moment) = self.notation.moment(text) else {
            for misfit in [
                &mut self.not_timestamp,
                &mut self.not_utc,
                &mut self.not_date,
                &mut self.not_day,
            ] {
                note(misfit, place, text);
            }
            return;
        };
        if moment.has_time {
            note(&mut self.not_date, place, text);
        }
        if moment.day().is_none() {
            note(&mut self.not_day, place, text);
        }
        let is_whole = is_loose || !moment.has_time || moment.has_seconds;
        if moment.in_utc || !is_whole {
            note(&mut self.not_timestamp, place, text);
        }
        if !moment.in_utc || !is_whole {
            note(&mut self.not_utc, place, text);
        }
        if moment.count(TimeUnit::Millisecond).is_none() {
            note(&mut self.finer_than_ms, place, text);
        }
        if moment.count(TimeUnit::Microsecond).is_none() {
            note(&mut self.finer_than_us, place, text);
        }
        if moment.count(TimeUnit::Nanosecond).is_none() {
            note(&mut self.beyond_ns, place, text);
        }
    }

    /// Whether there was a value.
    pub(super) fn is_seen(&self) -> bool {
        self.seen
    }

    /// What the commas of a column that became text may be, with the first value that has one.
    /// `None` if the values are not numbers, or if what a comma is was declared.
    pub(super) fn commas(&self) -> Option<(Commas, &str)> {
        let is_open = self.notation.decimal.is_none() && self.notation.thousands.is_none();
        self.commas
            .found()
            .filter(|_| is_open && self.wanted == Wanted::Any && self.inferred() == DataType::Utf8)
    }

    /// The unit that timestamps need, or the first value that none has room for.
    fn unit(&self) -> Result<TimeUnit, (ValuePlace, String)> {
        match (&self.finer_than_us, &self.beyond_ns) {
            (None, _) => Ok(TimeUnit::Microsecond),
            (Some(_), None) => Ok(TimeUnit::Nanosecond),
            (Some(_), Some(beyond)) => Err(beyond.clone()),
        }
    }

    /// The narrowest of the wide integer types that holds all whole numbers.
    fn integers(&self) -> Option<DataType> {
        let least = self.least?.0;
        let most = self.most?.0;
        match () {
            () if i64::try_from(least).is_ok() && i64::try_from(most).is_ok() => {
                Some(DataType::Int64)
            }
            () if u64::try_from(least).is_ok() && u64::try_from(most).is_ok() => {
                Some(DataType::UInt64)
            }
            () => None,
        }
    }

    /// Whether a value such as `12E3` is among plain digits, and so a code.
    fn is_code(&self) -> bool {
        self.has_exponent && !self.has_fraction && self.written == Written::Plain
    }

    /// What all values agree on.
    fn inferred(&self) -> DataType {
        let timestamp = |zone: Option<&str>| {
            self.unit()
                .ok()
                .map(|unit| DataType::Timestamp(unit, zone.map(Into::into)))
        };
        let agreed = match () {
            () if !self.seen => Some(TYPE_OF_EMPTY_COLUMN),
            () if self.not_whole.is_none() && self.integers() == Some(DataType::Int64) => {
                Some(DataType::Int64)
            }
            () if self.not_number.is_none() && !self.is_code() => Some(DataType::Float64),
            () if self.not_bool.is_none() => Some(DataType::Boolean),
            () if self.not_date.is_none() => Some(DataType::Date32),
            () if self.not_timestamp.is_none() => timestamp(None),
            () if self.not_utc.is_none() => timestamp(Some("UTC")),
            () => None,
        };
        agreed.unwrap_or(DataType::Utf8)
    }

    /// The column's type by the rules.
    ///
    /// # Errors
    /// A refusal that names the first value that is not of the declared type, or of no type that
    /// widens the one so far.
    pub(super) fn decide(&self, column: &str, inputs: &[Input]) -> Result<DataType> {
        if let Some(declared) = &self.declared {
            return match &self.not_fixed {
                None => Ok(declared.clone()),
                Some(misfit) => Err(refusal(column, "is declared", declared, misfit, inputs)),
            };
        }
        match &self.pinned {
            None => Ok(self.inferred()),
            Some(pinned) if !self.seen => Ok(pinned.clone()),
            Some(pinned) => match self.widened(pinned) {
                Err(_) if self.gives_way => Ok(DataType::Utf8),
                Err(misfit) => Err(refusal(column, "was", pinned, &misfit, inputs)),
                Ok(wide) => Ok(wide),
            },
        }
    }

    /// The pinned type, or a wider one, that holds all values; or the first value that none holds.
    fn widened(&self, pinned: &DataType) -> Result<DataType, (ValuePlace, String)> {
        use DataType as T;
        let or = |misfit: &Misfit, data_type: DataType| misfit.clone().map_or(Ok(data_type), Err);
        // JSON has types of its own. What is decimal or a moment only because the column was is
        // read as that type, or not at all.
        let widens = self.written == Written::Plain;
        match pinned {
            T::Null => Ok(self.inferred()),
            T::Utf8 => Ok(T::Utf8),
            integer if integer.is_integer() => self.widened_integer(integer),
            T::Float32 if self.not_float32.is_none() => Ok(T::Float32),
            T::Float32 | T::Float64 => or(&self.not_float64, T::Float64),
            T::Decimal128(precision, scale) => {
                or(&self.not_decimal, T::Null)?;
                let wide = self.widened_decimal(*precision, *scale, widens);
                wide.ok_or_else(|| self.longest.clone())
            }
            T::Date32 if self.not_day.is_none() => Ok(T::Date32),
            T::Date32 if !widens => or(&self.not_day, T::Date32),
            T::Date32 => {
                or(&self.not_timestamp, T::Null).and_then(|_| Ok(T::Timestamp(self.unit()?, None)))
            }
            T::Timestamp(unit, zone) => {
                or(
                    if zone.is_some() {
                        &self.not_utc
                    } else {
                        &self.not_timestamp
                    },
                    T::Null,
                )?;
                let needed = if self.finer_than_ms.is_some() {
                    self.unit()?
                } else {
                    TimeUnit::Millisecond
                };
                if needed > *unit && !widens {
                    let finer = if *unit == TimeUnit::Millisecond {
                        &self.finer_than_ms
                    } else {
                        &self.finer_than_us
                    };
                    or(finer, T::Null)?;
                }
                let unit = match (*unit).max(needed) {
                    // What reaches further than nanoseconds and needs none is kept in microseconds.
                    TimeUnit::Nanosecond if self.beyond_ns.is_some() => TimeUnit::Microsecond,
                    unit => unit,
                };
                Ok(T::Timestamp(unit, zone.clone()))
            }
            _ => or(&self.not_fixed, pinned.clone()),
        }
    }

    /// A decimal type, or a wider one, that holds all decimals, if there is one.
    fn widened_decimal(&self, precision: u8, scale: i8, widens: bool) -> Option<DataType> {
        let pinned = DataType::Decimal128(precision, scale);
        let (before, after) = self.decimal_digits;
        let has_room = i16::from(precision) - i16::from(scale) >= i16::from(before)
            && i16::from(scale) >= i16::from(after);
        if has_room {
            return Some(pinned);
        }
        if before + after > 38 || !widens {
            return None;
        }
        let needed = DataType::Decimal128((before + after).clamp(1, 38), i8::try_from(after).ok()?);
        widen(&pinned, &needed)
    }

    fn widened_integer(&self, pinned: &DataType) -> Result<DataType, (ValuePlace, String)> {
        if let Some(not_whole) = &self.not_whole {
            // Whole numbers become floats where there are fractions.
            return match &self.not_number {
                None if !self.is_code() => Ok(DataType::Float64),
                // A whole number that no float holds is right where whole numbers are expected.
                Some(misfit) if self.has_fraction && !text::fits(&misfit.1, pinned) => {
                    Err(misfit.clone())
                }
                _ => Err(not_whole.clone()),
            };
        }
        let (Some(least), Some(most)) = (self.least, self.most) else {
            return Ok(pinned.clone());
        };
        let fits = |(value, _): (i128, ValuePlace)| text::fits(&value.to_string(), pinned);
        if fits(least) && fits(most) {
            return Ok(pinned.clone());
        }
        let beyond = if fits(most) { least } else { most };
        let wide = self.integers().and_then(|needed| widen(pinned, &needed));
        wide.ok_or((beyond.1, beyond.0.to_string()))
    }
}

fn refusal(
    column: &str,
    verb: &str,
    data_type: &DataType,
    (place, value): &(ValuePlace, String),
    inputs: &[Input],
) -> Error {
    let place = place.in_words(inputs);
    let name = type_name(data_type);
    let so_far = if verb == "was" {
        " in the previous copy"
    } else {
        ""
    };
    Error::refused(format!(
        "{place}: column '{column}' {verb} {name}{so_far}, and '{value}' is not a valid {name}"
    ))
}
