//! What makes a query of Spark give another result when it is run again.
//!
//! The local engine refuses functions that are not deterministic. Spark runs them, so their names
//! are looked for in the text of the query, outside of quotes and comments.

use sqlparser::dialect::GenericDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::{Error, Result};

/// Functions whose result differs from run to run, and those that say where a row happens to be.
const FUNCTIONS: [&str; 19] = [
    "curdate",
    "current_catalog",
    "current_database",
    "current_schema",
    "current_user",
    "input_file_block_length",
    "input_file_block_start",
    "input_file_name",
    "monotonically_increasing_id",
    "now",
    "rand",
    "randn",
    "random",
    "randstr",
    "session_user",
    "shuffle",
    "spark_partition_id",
    "uniform",
    "uuid",
];
/// What needs no parentheses.
const WORDS: [&str; 6] = [
    "current_date",
    "current_time",
    "current_timestamp",
    "localtimestamp",
    "tablesample",
    "_metadata",
];

/// Refuses a query that may give another result when it is run again.
///
/// # Errors
/// A usage error that names the function, and one for quotes that do not end.
pub fn refuse_nondeterministic(sql: &str) -> Result<()> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize();
    let tokens = tokens.map_err(|error| Error::usage(format!("the job's SQL: {error}")))?;
    let is_code = |token: &&Token| !matches!(token, Token::Whitespace(_));
    let code: Vec<&Token> = tokens.iter().filter(is_code).collect();
    for (at, token) in code.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        let name = word.value.to_lowercase();
        let is_called = code.get(at + 1) == Some(&&Token::LParen);
        let is_column = at > 0 && code[at - 1] == &Token::Period;
        let is_it = FUNCTIONS.contains(&name.as_str()) && is_called
            || WORDS.contains(&name.as_str()) && !is_column;
        if is_it && word.quote_style.is_none() {
            return Err(Error::usage(format!(
                "the job's SQL: {name} is non-deterministic, and a rerun must give the same result"
            ))
            .hint("{date}, {start} and {end} are the job's own day"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_refused_and_its_names_elsewhere_are_not() {
        for refused in [
            "select now() from e",
            "select Current_Date from e",
            "select * from e where RAND ( ) < 0.1",
            "select uuid() as id from e",
            "select * from e tablesample (1 percent)",
        ] {
            let error = refuse_nondeterministic(refused).expect_err(refused);
            assert!(error.to_string().contains("non-deterministic"), "{error}");
        }
        for fine in [
            "select 'now()' as a, \"now\" from e -- rand()",
            "select now, e.current_date, uuid from e",
            "select random_number from e /* uuid() */",
        ] {
            refuse_nondeterministic(fine).expect(fine);
        }
    }
}
