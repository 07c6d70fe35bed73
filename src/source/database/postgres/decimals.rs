//! `numeric`: the digits of a column and the exact value of a number.
//!
//! A `numeric(p, s)` of up to 38 digits says what digits its values have. Of any other, the largest
//! numbers of digits before and after the point among all values are what the column needs. More
//! than 38 are refused by name: no number is rounded.

use arrow::datatypes::DataType;
use tokio_postgres::Transaction;

use super::columns::PostgresColumn;
use super::quoted_name;
use crate::domain::widening::widen;
use crate::error::{Error, Result};
use crate::source::database::stream::Asked;

/// The most digits that a decimal has.
const MOST: i32 = 38;

/// Precision and scale of a `numeric(p, s)` by its type modifier; `None` if it has none, or more
/// digits than a decimal.
pub(super) fn of_modifier(modifier: i32) -> Option<(u8, i8)> {
    if modifier < 4 {
        return None;
    }
    let precision = (modifier - 4) >> 16;
    // Eleven bits with a sign: `numeric(3, -2)` has 5 digits before the point, of which 3 count.
    let scale = (((modifier - 4) & 0x7ff) ^ 0x400) - 0x400;
    digits(precision - scale, scale)
}

/// Precision and scale of numbers with so many digits before and after the point, where negative
/// ones are none.
fn digits(before: i32, after: i32) -> Option<(u8, i8)> {
    let after = after.max(0);
    let precision = (before.max(0) + after).max(1);
    (precision <= MOST).then_some((u8::try_from(precision).ok()?, i8::try_from(after).ok()?))
}

/// Finds the digits of each column of numbers that does not tell them, by one look at all values.
///
/// # Errors
/// A refusal of a column whose values need more digits than a decimal has.
pub(super) async fn settle_decimals(
    transaction: &Transaction<'_>,
    query: &str,
    columns: &mut [PostgresColumn],
    asked: &Asked,
) -> Result<()> {
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let unsettled = columns
        .iter_mut()
        .enumerate()
        .filter(|(_, column)| column.wants_digits());
    let mut unsettled: Vec<_> = unsettled.collect();
    if unsettled.is_empty() {
        return Ok(());
    }
    let sums: Vec<String> = unsettled
        .iter()
        .map(|(_, column)| digits_of(column))
        .collect();
    let survey = format!("SELECT {} FROM (\n{query}\n) AS q", sums.join(", "));
    let found = transaction.query_one(&survey, &[]).await;
    let found = found.map_err(|error| asked.of_postgres(error))?;
    let pins = asked.rules.pins();
    for (at, (index, column)) in unsettled.iter_mut().enumerate() {
        let before: i32 = found.get::<_, Option<i32>>(2 * at).unwrap_or(0);
        let after: i32 = found.get::<_, Option<i32>>(2 * at + 1).unwrap_or(0);
        let (precision, scale) = digits(before, after).ok_or_else(|| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Error::refused(format!(
                "column '{}' is numeric, and its values need {} digits, of which {after} are \
                 after the point: a decimal has {MOST}",
                column.name,
                before + after
            ))
            .hint(asked.casting(*index, &names))
        })?;
        // A column keeps the digits of the nights before, if they are enough.
        let found = DataType::Decimal128(precision, scale);
        match pins.of(&column.name).map(|pinned| widen(pinned, &found)) {
            Some(Some(DataType::Decimal128(precision, scale))) => column.settle(precision, scale),
            _ => column.settle(precision, scale),
        }
    }
    Ok(())
}

/// The largest numbers of digits of a column before and after the point, as SQL.
fn digits_of(column: &PostgresColumn) -> String {
    let name = format!("q.{}", quoted_name(&column.name));
    // Neither NaN nor an infinity has digits; the row that holds it is refused when it is read.
    let before = |value: &str| {
        format!(
            "max(CASE WHEN scale({value}) IS NULL OR abs({value}) < 1 THEN 0 \
             ELSE length(trunc(abs({value}))::text) END)"
        )
    };
    let after = |value: &str| format!("max(scale(trim_scale({value})))");
    if column.is_list() {
        let of_items =
            |digits: String| format!("max((SELECT {digits} FROM unnest({name}) AS item))");
        return format!("{}, {}", of_items(before("item")), of_items(after("item")));
    }
    format!("{}, {}", before(&name), after(&name))
}

/// The exact value of a number in the binary format, times ten to the power of `scale`.
///
/// The format is the number of digits to the base of 10,000, the power of the first, a sign, the
/// digits after the point that are shown, and the digits.
///
/// # Errors
/// Why a decimal of this precision and scale does not hold it, in words that follow the name of the
/// column.
pub(super) fn decimal(bytes: &[u8], precision: u8, scale: i8) -> Result<i128, String> {
    let mut words = bytes
        .chunks_exact(2)
        .map(|word| u16::from_be_bytes([word[0], word[1]]));
    let mut next = || words.next().ok_or("holds a number that cannot be read");
    let (count, weight, sign, _) = (next()?, next()?, next()?, next()?);
    match sign {
        0xc000 => return Err("holds NaN, which a decimal cannot hold".to_owned()),
        0xd000 | 0xf000 => return Err("holds an infinity, which a decimal cannot hold".to_owned()),
        _ => {}
    }
    let too_long = || format!("holds a number that a decimal({precision}, {scale}) would round");
    // The power of ten of the last decimal digit of the next word.
    let mut power = (i32::from(weight.cast_signed()) * 4).saturating_add(i32::from(scale));
    let mut value: i128 = 0;
    for _ in 0..count {
        let word = i128::from(next()?);
        let part = if power >= 0 {
            let factor = 10_i128.checked_pow(power.unsigned_abs());
            factor.and_then(|factor| factor.checked_mul(word))
        } else {
            let divisor = 10_i128.checked_pow(power.unsigned_abs());
            let divisor = divisor.filter(|divisor| word % divisor == 0);
            divisor.map(|divisor| word / divisor)
        };
        let part = if word == 0 { Some(0) } else { part };
        value = part
            .and_then(|part| value.checked_add(part))
            .ok_or_else(too_long)?;
        power -= 4;
    }
    let is_held = 10_i128
        .checked_pow(u32::from(precision))
        .is_none_or(|limit| value < limit);
    if !is_held {
        return Err(too_long());
    }
    Ok(if sign == 0x4000 { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number in the binary format.
    fn number(weight: i16, sign: u16, words: &[u16]) -> Vec<u8> {
        let head = [words.len() as u16, weight.cast_unsigned(), sign, 0];
        head.iter()
            .chain(words)
            .flat_map(|word| word.to_be_bytes())
            .collect()
    }

    #[test]
    fn a_modifier_tells_precision_and_scale() {
        let modifier = |precision: i32, scale: i32| (precision << 16 | scale & 0x7ff) + 4;
        for ((precision, scale), expected) in [
            ((10, 2), Some((10, 2))),
            ((38, 38), Some((38, 38))),
            ((39, 0), None),
            ((3, -2), Some((5, 0))),
            ((3, 5), Some((5, 5))),
            ((1000, 1000), None),
        ] {
            assert_eq!(
                of_modifier(modifier(precision, scale)),
                expected,
                "{precision}, {scale}"
            );
        }
        assert_eq!(of_modifier(-1), None);
    }

    #[test]
    fn every_digit_of_a_number_is_kept() {
        for (weight, sign, words, scale, expected) in [
            (0, 0, vec![1, 2000], 2, Some(120)),
            (0, 0x4000, vec![1, 2000], 1, Some(-12)),
            (-1, 0, vec![5], 4, Some(5)),
            (-2, 0, vec![5000], 5, Some(5)),
            (2, 0, vec![1], 0, Some(100_000_000)),
            (0, 0, vec![], 3, Some(0)),
            (0, 0, vec![1, 2300], 1, None),
            (-3, 0, vec![1], 2, None),
        ] {
            let found = decimal(&number(weight, sign, &words), 38, scale);
            assert_eq!(found.ok(), expected, "{weight} {words:?} {scale}");
        }
        // 38 nines, whose words are not whole.
        let nines = [99, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999];
        let all = 10_i128.pow(38) - 1;
        assert_eq!(decimal(&number(9, 0, &nines), 38, 0), Ok(all));
        let nines = [
            9, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9000,
        ];
        assert_eq!(decimal(&number(0, 0, &nines), 38, 37), Ok(all));
        assert!(decimal(&number(0, 0, &[100]), 2, 0).is_err());
    }

    #[test]
    fn what_is_no_number_is_refused_by_name() {
        for (sign, what) in [
            (0xc000, "NaN"),
            (0xd000, "an infinity"),
            (0xf000, "an infinity"),
        ] {
            let error = decimal(&number(0, sign, &[]), 10, 2).expect_err(what);
            assert!(error.contains(what), "{error}");
        }
        assert!(decimal(&[0, 1], 10, 2).is_err());
    }
}
