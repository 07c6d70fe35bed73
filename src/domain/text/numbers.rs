//! Numbers and truth values as text, taken apart without rounding.

use std::borrow::Cow;

/// `true` or `false`, in any case.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Whether text is a whole number as a program writes it: no plus, no leading zero, no minus before
/// a lone zero.
pub fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = if digits.len() > 1 || digits.len() < text.len() {
        !digits.starts_with('0')
    } else {
        true
    };
    !digits.is_empty() && canonical && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A whole number in its canonical form.
pub fn integer<T: std::str::FromStr>(text: &str) -> Option<T> {
    is_whole(text).then(|| text.parse().ok()).flatten()
}

/// A number as text: its parts, none of which has been rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<'a> {
    /// Whether the number has a minus.
    pub is_negative: bool,
    /// The digits before the point: `0`, or none that begins with a zero; empty in `.5`.
    pub whole: &'a str,
    /// The digits after the point.
    pub fraction: &'a str,
    /// The power of ten, if it is written.
    pub exponent: Option<i32>,
}

impl<'a> Number<'a> {
    /// Takes a number apart. `None` if text is not a number, or is written like a code: `007`,
    /// `+1`, `1.`.
    pub fn parse(text: &'a str) -> Option<Self> {
        // Numbers are short: looking at each byte is faster than a search.
        let find = |text: &str, of: &[u8]| text.bytes().position(|byte| of.contains(&byte));
        let (mantissa, exponent) = match find(text, b"eE") {
            None => (text, None),
            Some(at) => (&text[..at], Some(exponent(&text[at + 1..])?)),
        };
        let is_negative = mantissa.starts_with('-');
        let mantissa = mantissa.strip_prefix('-').unwrap_or(mantissa);
        let (whole, fraction) = match find(mantissa, b".") {
            None => (mantissa, ""),
            Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        };
        if fraction.is_empty() && whole.len() < mantissa.len() {
            return None;
        }
        let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_code =
            whole.len() > 1 && whole.starts_with('0') || whole.is_empty() && fraction.is_empty();
        let number = Number {
            is_negative,
            whole,
            fraction,
            exponent,
        };
        (!is_code && are_digits(whole) && are_digits(fraction)).then_some(number)
    }

    /// The digits of the number without zeros at either end.
    fn significant(&self) -> Cow<'a, str> {
        let whole = self.whole.trim_start_matches('0');
        let fraction = self.fraction.trim_end_matches('0');
        match (whole, fraction) {
            ("", fraction) => fraction.trim_start_matches('0').into(),
            (whole, "") => whole.trim_end_matches('0').into(),
            (whole, fraction) => format!("{whole}{fraction}").into(),
        }
    }

    /// How many digits the exact value has before and after the point, if no more than 38 of
    /// either.
    pub fn decimal_digits(&self) -> Option<(u8, u8)> {
        let significant = self.significant();
        if significant.is_empty() {
            return Some((0, 0));
        }
        // The value is 0.SIGNIFICANT times ten to the power of `point`.
        let zeros = if self.whole.trim_start_matches('0').is_empty() {
            -i64::try_from(self.fraction.len() - self.fraction.trim_start_matches('0').len())
                .ok()?
        } else {
            i64::try_from(self.whole.trim_start_matches('0').len()).ok()?
        };
        let point = zeros + i64::from(self.exponent.unwrap_or(0));
        let before = point.max(0);
        let after = (i64::try_from(significant.len()).ok()? - point).max(0);
        (before <= 38 && after <= 38)
            .then_some((u8::try_from(before).ok()?, u8::try_from(after).ok()?))
    }

    /// The exact value of the number times ten to the power of `scale`; `None` if that is not whole
    /// or too large.
    fn scaled(&self, scale: i32) -> Option<i128> {
        let significant = self.significant();
        if significant.is_empty() {
            return Some(0);
        }
        let trailing = if self.fraction.trim_end_matches('0').is_empty() {
            i32::try_from(self.whole.len() - self.whole.trim_end_matches('0').len()).ok()?
        } else {
            -i32::try_from(self.fraction.trim_end_matches('0').len()).ok()?
        };
        // The value is SIGNIFICANT times ten to the power of `trailing` and the exponent.
        let power = trailing
            .checked_add(self.exponent.unwrap_or(0))?
            .checked_add(scale)?;
        let digits: i128 = significant.parse().ok()?;
        let value = digits.checked_mul(10i128.checked_pow(u32::try_from(power).ok()?)?)?;
        Some(if self.is_negative { -value } else { value })
    }
}

fn exponent(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number
        .then(|| text.parse::<i32>().ok())
        .flatten()
        .filter(|power| power.abs() < 1 << 20)
}

/// A decimal, as the whole number of its last digits.
pub fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let value = Number::parse(text)?.scaled(i32::from(scale))?;
    (value.unsigned_abs() < 10u128.checked_pow(u32::from(precision))?).then_some(value)
}

/// A float64 that keeps every digit; also `NaN`, `inf` and `infinity`.
pub fn float64(text: &str) -> Option<f64> {
    let Some(number) = Number::parse(text) else {
        return not_finite(text);
    };
    let value: f64 = text.parse().ok()?;
    keeps_digits(
        &number,
        value.is_normal() && number.digits_at_most(15),
        value == 0.0,
        value.is_finite(),
        |digits| match digits {
            Some(digits) => format!("{value:.digits$e}"),
            None => format!("{value:e}"),
        },
    )
    .then_some(value)
}

/// A float32 that keeps every digit; also `NaN`, `inf` and `infinity`.
pub fn float32(text: &str) -> Option<f32> {
    let Some(number) = Number::parse(text) else {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "NaN and infinities are the same in both"
        )]
        return not_finite(text).map(|value| value as f32);
    };
    let value: f32 = text.parse().ok()?;
    keeps_digits(
        &number,
        value.is_normal() && number.digits_at_most(6),
        value == 0.0,
        value.is_finite(),
        |digits| match digits {
            Some(digits) => format!("{value:.digits$e}"),
            None => format!("{value:e}"),
        },
    )
    .then_some(value)
}

impl Number<'_> {
    fn digits_at_most(&self, most: usize) -> bool {
        self.whole.len() + self.fraction.len() <= most || self.significant().len() <= most
    }
}

/// Whether a float is a number, printed with as many digits as that has, or as few as tell it from
/// other floats. The two differ where the float lies in the middle between two numbers of that many
/// digits.
fn keeps_digits(
    number: &Number<'_>,
    is_certain: bool,
    is_zero: bool,
    is_finite: bool,
    print: impl Fn(Option<usize>) -> String,
) -> bool {
    if is_certain || !is_finite {
        return is_finite;
    }
    let significant = number.significant();
    if is_zero || significant.is_empty() {
        return is_zero && significant.is_empty();
    }
    // No float has more digits than this.
    if significant.len() > 800 {
        return false;
    }
    [Some(significant.len() - 1), None]
        .into_iter()
        .any(|digits| {
            let printed = print(digits);
            printed
                .split('e')
                .next()
                .unwrap_or_default()
                .bytes()
                .filter(u8::is_ascii_digit)
                .eq(significant.bytes())
        })
}

fn not_finite(text: &str) -> Option<f64> {
    let (sign, name) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    match () {
        () if is("inf") || is("infinity") => Some(sign * f64::INFINITY),
        () if is("nan") && name.len() == text.len() => Some(f64::NAN),
        () => None,
    }
}
