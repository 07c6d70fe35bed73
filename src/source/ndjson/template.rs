//! Lines that are written alike.
//!
//! A program that exports JSON lines writes each object in the same way: the text between the
//! values, which are the names of fields, is the same on every line. Comparing that text takes a
//! fraction of the time of parsing it. A line that is written in another way is left to the parser,
//! and so is one with an array, an object or an escaped string.
//!
//! A line that is read here is JSON: the text between its values is that of a line that was parsed,
//! and each value is a number, a string, `true`, `false` or `null` by the grammar of RFC 8259. The
//! caller sees to it that the only control characters are ends of lines: no string may have one.

use crate::domain::text::json::JsonValue;

/// The text of a line between its values.
#[derive(Default)]
pub(super) struct LineTemplate<'a> {
    /// The text before each value, and the column of the value.
    before: Vec<(&'a str, usize)>,
    /// The text behind the last value.
    end: &'a str,
    /// Whether every value is read here.
    is_flat: bool,
}

impl<'a> LineTemplate<'a> {
    /// Begins the template of another line.
    pub(super) fn begin(&mut self) {
        self.before.clear();
        self.is_flat = true;
    }

    /// Adds the text before the value of a column.
    pub(super) fn add(&mut self, before: &'a str, at: usize, value: &JsonValue<'_>) {
        self.before.push((before, at));
        self.is_flat &= !matches!(value, JsonValue::Array(_) | JsonValue::Object(_));
    }

    /// Adds the text behind the last value.
    pub(super) fn finish(&mut self, end: &'a str) {
        self.end = end;
    }

    /// How many fields the line has.
    pub(super) fn fields(&self) -> usize {
        self.before.len()
    }

    /// Returns whether the line matches the template; if so, `scalars` holds its values, each with
    /// its column.
    pub(super) fn find(&self, line: &'a str, scalars: &mut Vec<(usize, ScalarText<'a>)>) -> bool {
        scalars.clear();
        if !self.is_flat {
            return false;
        }
        let mut rest = line;
        for (before, at) in &self.before {
            let found = rest.strip_prefix(before).and_then(ScalarText::at_start);
            let Some((scalar, behind)) = found else {
                return false;
            };
            scalars.push((*at, scalar));
            rest = behind;
        }
        rest == self.end
    }
}

/// The text of a scalar, which has no escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScalarText<'a>(&'a str);

impl<'a> ScalarText<'a> {
    /// The scalar that text begins with, and what is behind it; `None` of a string with an escape.
    fn at_start(text: &'a str) -> Option<(Self, &'a str)> {
        let bytes = text.as_bytes();
        let word = |word: &str| text.starts_with(word).then_some(word.len());
        let length = match bytes.first()? {
            b'"' => {
                let length = memchr::memchr2(b'"', b'\\', &bytes[1..])?;
                (bytes[1 + length] == b'"').then_some(length + 2)
            }
            b'-' | b'0'..=b'9' => number_length(bytes),
            b't' => word("true"),
            b'f' => word("false"),
            b'n' => word("null"),
            _ => None,
        };
        let (scalar, behind) = text.split_at(length?);
        Some((ScalarText(scalar), behind))
    }

    /// Its value.
    pub(super) fn value(self) -> JsonValue<'a> {
        match self.0.as_bytes().first() {
            Some(b'"') => JsonValue::String(self.0[1..self.0.len() - 1].into()),
            Some(b't') => JsonValue::Bool(true),
            Some(b'f') => JsonValue::Bool(false),
            Some(b'n') => JsonValue::Null,
            _ => JsonValue::Number(self.0.into()),
        }
    }
}

/// How long the number is that text begins with.
fn number_length(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        let digits = text[from..].iter().take_while(|byte| byte.is_ascii_digit());
        let count = digits.count();
        (count > 0).then_some(from + count)
    };
    let start = usize::from(text.first() == Some(&b'-'));
    let mut end = digits(start)?;
    if text[start] == b'0' && end > start + 1 {
        return None;
    }
    if text.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let is_signed = matches!(text.get(end + 1), Some(b'+' | b'-'));
        end = digits(end + 1 + usize::from(is_signed))?;
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_read_by_the_grammar_of_json() {
        for (from, expected) in [
            ("7,", Some(("7", ","))),
            ("-0}", Some(("-0", "}"))),
            ("10.50e+3 ", Some(("10.50e+3", " "))),
            ("1E9", Some(("1E9", ""))),
            ("007", None),
            ("-", None),
            ("1.", None),
            (".5", None),
            ("1e", None),
            ("+1", None),
            ("\"a b\",", Some(("\"a b\"", ","))),
            ("\"\"", Some(("\"\"", ""))),
            ("\"ü\"}", Some(("\"ü\"", "}"))),
            ("\"a\\\"b\"", None),
            ("\"open", None),
            ("true", Some(("true", ""))),
            ("false}", Some(("false", "}"))),
            ("null,", Some(("null", ","))),
            ("nul", None),
            ("tree", None),
            ("[1]", None),
            ("{}", None),
            ("NaN", None),
            ("", None),
        ] {
            let found = ScalarText::at_start(from);
            let expected = expected.map(|(text, behind)| (ScalarText(text), behind));
            assert_eq!(found, expected, "{from}");
            // What is found here has the value that the parser reads.
            if let Some((scalar, _)) = found {
                let parsed = crate::domain::text::json::parse(scalar.0).expect("JSON");
                assert_eq!(scalar.value(), parsed, "{from}");
            }
        }
    }

    #[test]
    fn a_line_is_read_if_it_is_written_like_the_template() {
        let mut template = LineTemplate::default();
        let mut scalars = Vec::new();
        assert!(
            !template.find("{\"a\": 1, \"b\": 2}", &mut scalars),
            "nothing was parsed"
        );
        template.begin();
        template.add("{\"a\": ", 1, &JsonValue::Null);
        template.add(", \"b\": ", 0, &JsonValue::Null);
        template.finish(" }");
        assert!(template.find("{\"a\": 1, \"b\": \"x\" }", &mut scalars));
        let values: Vec<_> = scalars
            .iter()
            .map(|(at, scalar)| (*at, scalar.value()))
            .collect();
        let expected = [
            (1, JsonValue::Number("1".into())),
            (0, JsonValue::String("x".into())),
        ];
        assert_eq!(values, expected);
        for other in [
            "{\"a\": 1, \"b\": \"x\"}",
            "{\"a\": 1,\"b\": \"x\" }",
            "{\"b\": 1, \"a\": \"x\" }",
            "{\"a\": 1 }",
            "{\"a\": 1, \"b\": 2, \"c\": 3 }",
            "{\"a\": 1x, \"b\": 2 }",
            "{\"a\": 1, \"b\": [2] }",
            "{\"a\": 1, \"b\": 2 } 3",
            "",
        ] {
            assert!(!template.find(other, &mut scalars), "{other}");
        }
        template.add(", \"c\": ", 2, &JsonValue::Array(Vec::new()));
        template.finish("}");
        assert!(
            !template.find("{\"a\": 1, \"b\": 2, \"c\": 3}", &mut scalars),
            "nested"
        );
    }
}
