//! Decoding of files that may be damaged or written by any tool.
//!
//! The decoders of Arrow and Parquet report most damage as an error and panic on the rest. A panic
//! while such a file is decoded is a refusal of the file, and not a fault of asof: the process goes
//! on with the other dates.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Result};

thread_local! {
    /// Whether this thread is in a decoder whose panics are refusals.
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Keeps panics that [`decode`] turns into refusals from being printed. Other panics are printed as
/// before.
pub fn silence_decoders() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !DECODING.get() {
            print(panic);
        }
    }));
}

/// Runs a decoder. If it panics, returns the error that `damaged` makes of the panic's message.
///
/// # Errors
/// What the decoder returns, or `damaged`.
pub fn decode<T>(
    damaged: impl Fn(&str) -> Error,
    decoder: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let outer = DECODING.replace(true);
    let decoded = catch_unwind(AssertUnwindSafe(decoder));
    DECODING.set(outer);
    decoded.unwrap_or_else(|panic| Err(damaged(message(panic.as_ref()))))
}

/// The first line of a panic's message.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.and_then(|text| text.lines().next())
        .unwrap_or("it cannot be decoded")
}

/// The items of a decoder, up to the first error. A panic of the decoder is an error that `damaged`
/// makes.
pub struct CheckedItems<I, F> {
    items: Option<I>,
    damaged: F,
}

impl<I, F> CheckedItems<I, F> {
    /// Wraps the iterator of a decoder.
    pub fn new(items: I, damaged: F) -> Self {
        CheckedItems {
            items: Some(items),
            damaged,
        }
    }
}

impl<T, I: Iterator<Item = Result<T>>, F: Fn(&str) -> Error> Iterator for CheckedItems<I, F> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let items = self.items.as_mut()?;
        let next = decode(&self.damaged, || items.next().transpose()).transpose();
        if !matches!(next, Some(Ok(_))) {
            self.items = None;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_decoder_is_a_refusal_and_ends_its_items() {
        let damaged = |why: &str| Error::refused(format!("'x' is damaged: {why}"));
        let error =
            decode(damaged, || -> Result<()> { panic!("no\nmore") }).expect_err("it panics");
        assert_eq!(
            (error.to_string().as_str(), error.kind()),
            ("'x' is damaged: no", crate::error::Kind::Refused)
        );
        let items = (0..5).map(|item| {
            if item == 2 {
                panic!("at {item}")
            } else {
                Ok(item)
            }
        });
        let all: Vec<_> = CheckedItems::new(items, damaged)
            .map(|item| item.map_err(|error| error.to_string()))
            .collect();
        assert_eq!(all, [Ok(0), Ok(1), Err("'x' is damaged: at 2".to_owned())]);
        assert!(!DECODING.get());
    }
}
