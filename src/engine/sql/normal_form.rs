//! A query without what does not count as a change of it: comments, and the white space between its
//! tokens.
//!
//! The tokens are those of the SQL parser. Each stands as it is written, so the text in quotes and
//! the case of words count.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::domain::placeholders::sql::MarkedPlace;

/// The tokens of a query with one space between them, and no comments. In braces white space
/// counts: `{date}` is a placeholder, and `{ date }` is none. A text that is not SQL is returned as
/// it is.
pub fn normal_form(sql: &str) -> String {
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .with_unescape(false)
        .tokenize_with_location();
    let Ok(tokens) = tokens else {
        return sql.trim().to_owned();
    };
    let mut place = MarkedPlace::start(sql);
    let mut normal = String::with_capacity(sql.len());
    let mut braces = 0_usize;
    for token in tokens {
        let start = place.byte(token.span.start);
        let written = &sql[start..place.byte(token.span.end)];
        let is_space = matches!(token.token, Token::Whitespace(_));
        if braces == 0 && !is_space && !normal.is_empty() {
            normal.push(' ');
        }
        if braces > 0 || !is_space {
            normal.push_str(written);
        }
        match token.token {
            Token::LBrace => braces += 1,
            Token::RBrace => braces = braces.saturating_sub(1),
            _ => {}
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_white_space_do_not_count() {
        let query = "select a.b, 'x  -- y' as \"c  d\" from t where n>=1.5 and d = {date}";
        for same in [
            "  select a.b,'x  -- y' as \"c  d\"\nfrom t\twhere n >= 1.5 and d={date}\n",
            "-- it's the job of\nselect a.b, /* two */ 'x  -- y' as \"c  d\" from t -- {ds}\n where \
             n>=1.5 and d = {date} /* that's all */",
            "select a . b, 'x  -- y' as \"c  d\" from t where n>=1.5 and d = {date}",
        ] {
            assert_eq!(normal_form(same), normal_form(query), "{same}");
        }
        assert_eq!(
            normal_form(query),
            "select a . b , 'x  -- y' as \"c  d\" from t where n >= 1.5 and d = {date}"
        );
    }

    #[test]
    fn everything_else_counts() {
        let forms = [
            "select 'a  b'",
            "select 'a b'",
            "select 'A b'",
            "select 'a' 'b'",
            "SELECT 'a b'",
            "select \"a b\"",
            "select a b",
            "select ab",
            "select 1.5",
            "select 1 .5",
            "select {date}",
            "select { date }",
            "select '{date:%Y%m}'",
            "select {date:%Y%m}",
            "select {date:%Y %m}",
            "select a - -1",
            "select a",
            "select 'é' || $$x  y$$",
            "select 'é' || $$x y$$",
        ];
        for (at, one) in forms.iter().enumerate() {
            for other in &forms[..at] {
                assert_ne!(normal_form(one), normal_form(other), "{one}");
            }
        }
    }

    #[test]
    fn the_normal_form_of_a_normal_form_is_itself() {
        for sql in [
            "select {date:%Y %m}, a.b -- x",
            "é /* ö */ ü",
            "",
            "'open",
            "select 'a'\n'b'",
        ] {
            let normal = normal_form(sql);
            assert_eq!(normal_form(&normal), normal, "{sql}");
        }
    }
}
