//! Encodings of text: everything behind this module is UTF-8.
//!
//! A byte order mark decides between UTF-8 and UTF-16, unless an encoding is declared. Text without
//! a mark is UTF-8. Bytes that an encoding does not have are an error, and never a replacement
//! character: Latin-1 has all 256 bytes, Windows-1252 has all but five.

use std::io::{self, Cursor, Read};

use encoding_rs::{Decoder, DecoderResult};

use super::compression::fill;

/// How characters are written as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, as which text goes on.
    Utf8,
    /// UTF-16, whose byte order mark tells the order.
    Utf16,
    /// ISO-8859-1: the bytes are the first 256 characters of Unicode.
    Latin1,
    /// Another one, by the tables of the WHATWG.
    Other(&'static encoding_rs::Encoding),
}

/// The bytes that Windows-1252 leaves undefined; the WHATWG has control characters for them.
const NOT_IN_WINDOWS_1252: [u8; 5] = [0x81, 0x8d, 0x8f, 0x90, 0x9d];

const BOM: &[u8] = b"\xef\xbb\xbf";

impl Encoding {
    /// The encoding of a name, as Python or the Encoding Standard have it.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase().replace('_', "-");
        Some(match name.as_str() {
            "utf-8" | "utf8" | "utf-8-sig" => Encoding::Utf8,
            "utf-16" | "utf16" => Encoding::Utf16,
            "latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" => Encoding::Latin1,
            "utf-16-le" => Encoding::Other(encoding_rs::UTF_16LE),
            "utf-16-be" => Encoding::Other(encoding_rs::UTF_16BE),
            "cp1252" => Encoding::Other(encoding_rs::WINDOWS_1252),
            name => {
                let python = name
                    .strip_prefix("cp")
                    .map(|number| format!("windows-{number}"));
                let known = encoding_rs::Encoding::for_label_no_replacement(name.as_bytes());
                Encoding::Other(known.or_else(|| {
                    encoding_rs::Encoding::for_label_no_replacement(python?.as_bytes())
                })?)
            }
        })
    }

    /// The name, as messages have it.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "UTF-8",
            Encoding::Utf16 => "UTF-16",
            Encoding::Latin1 => "latin-1",
            Encoding::Other(other) => other.name(),
        }
    }
}

/// Text as UTF-8, and the encoding that it had. If `declared` is none, the byte order mark tells
/// it.
///
/// UTF-8 is not checked here: whoever reads it knows the line and the column.
///
/// # Errors
/// A failure to read; invalid data for UTF-16 without a byte order mark.
pub(super) fn decoded(
    mut from: Box<dyn Read + Send>,
    declared: Option<Encoding>,
) -> io::Result<(Box<dyn Read + Send>, Encoding)> {
    let mut start = [0u8; 3];
    let got = fill(&mut from, &mut start)?;
    let mark = match &start[..got] {
        BOM => Some((BOM.len(), Encoding::Utf8)),
        [0xff, 0xfe, ..] => Some((2, Encoding::Other(encoding_rs::UTF_16LE))),
        [0xfe, 0xff, ..] => Some((2, Encoding::Other(encoding_rs::UTF_16BE))),
        _ => None,
    };
    let (skipped, encoding) = match (declared, mark) {
        (None, mark) => mark.unwrap_or((0, Encoding::Utf8)),
        (Some(Encoding::Utf16), Some((length, encoding))) if encoding != Encoding::Utf8 => {
            (length, encoding)
        }
        (Some(Encoding::Utf16), _) => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it has no byte order mark: declare utf-16le or utf-16be",
            ));
        }
        (Some(declared), Some((length, marked))) if declared == marked => (length, declared),
        (Some(declared), _) => (0, declared),
    };
    let from = Cursor::new(start[skipped..got].to_vec()).chain(from);
    let decoder = match encoding {
        Encoding::Utf8 => return Ok((Box::new(from), encoding)),
        Encoding::Utf16 | Encoding::Latin1 => None,
        Encoding::Other(other) => Some(other.new_decoder_without_bom_handling()),
    };
    let decoding = Decoding {
        from,
        encoding,
        decoder,
        input: vec![0; 1 << 16],
        output: vec![0; 1 << 18],
        ready: 0..0,
        state: DecodingState::Reading,
    };
    Ok((Box::new(decoding), encoding))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DecodingState {
    Reading,
    /// What is ready is followed by bytes that the encoding does not have.
    Wrong,
    Ended,
}

struct Decoding<R> {
    from: R,
    encoding: Encoding,
    /// Nothing for Latin-1.
    decoder: Option<Decoder>,
    input: Vec<u8>,
    output: Vec<u8>,
    ready: std::ops::Range<usize>,
    state: DecodingState,
}

impl<R: Read> Decoding<R> {
    fn decode(&mut self) -> io::Result<()> {
        let count = fill(&mut self.from, &mut self.input)?;
        if count < self.input.len() {
            self.state = DecodingState::Ended;
        }
        let mut input = &self.input[..count];
        let Some(decoder) = &mut self.decoder else {
            self.ready = 0..encoding_rs::mem::convert_latin1_to_utf8(input, &mut self.output);
            return Ok(());
        };
        if self.encoding == Encoding::Other(encoding_rs::WINDOWS_1252)
            && let Some(at) = input
                .iter()
                .position(|byte| NOT_IN_WINDOWS_1252.contains(byte))
        {
            (input, self.state) = (&input[..at], DecodingState::Wrong);
        }
        // The output has room for the most that the input can become.
        let (result, _, written) = decoder.decode_to_utf8_without_replacement(
            input,
            &mut self.output,
            self.state == DecodingState::Ended,
        );
        if matches!(result, DecoderResult::Malformed(..)) {
            self.state = DecodingState::Wrong;
        }
        self.ready = 0..written;
        Ok(())
    }
}

impl<R: Read> Read for Decoding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.ready.is_empty() || buffer.is_empty() {
                let count = buffer.len().min(self.ready.len());
                buffer[..count]
                    .copy_from_slice(&self.output[self.ready.start..self.ready.start + count]);
                self.ready.start += count;
                return Ok(count);
            }
            match self.state {
                DecodingState::Reading => self.decode()?,
                DecodingState::Wrong => {
                    let what = format!("a byte that is not valid {}", self.encoding.name());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
                DecodingState::Ended => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], declared: Option<&str>) -> Result<(String, &'static str), String> {
        let declared = declared.map(|name| Encoding::named(name).expect("an encoding"));
        let (mut text, encoding) = decoded(Box::new(Cursor::new(bytes.to_vec())), declared)
            .map_err(|error| error.to_string())?;
        let mut read = Vec::new();
        text.read_to_end(&mut read)
            .map_err(|error| error.to_string())?;
        Ok((
            String::from_utf8(read).map_err(|error| error.to_string())?,
            encoding.name(),
        ))
    }

    fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    }

    #[test]
    fn marks_decide_unless_an_encoding_is_declared() {
        let text = "id,\u{e9}\u{20ac}\u{1f600}\n";
        let little = utf16(text, u16::to_le_bytes);
        let big = utf16(text, u16::to_be_bytes);
        let marked = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
        for (bytes, declared, encoding) in [
            (text.as_bytes().to_vec(), None, "UTF-8"),
            (marked(BOM, text.as_bytes()), None, "UTF-8"),
            (marked(BOM, text.as_bytes()), Some("utf8"), "UTF-8"),
            (marked(b"\xff\xfe", &little), None, "UTF-16LE"),
            (marked(b"\xfe\xff", &big), None, "UTF-16BE"),
            (marked(b"\xfe\xff", &big), Some("UTF-16"), "UTF-16BE"),
            (little, Some("utf-16le"), "UTF-16LE"),
            (big, Some("utf_16_be"), "UTF-16BE"),
        ] {
            assert_eq!(
                read(&bytes, declared),
                Ok((text.to_owned(), encoding)),
                "{declared:?}"
            );
        }
        assert_eq!(read(b"", None), Ok((String::new(), "UTF-8")));
        assert!(read(b"i\0d\0", Some("utf-16")).is_err());
    }

    #[test]
    fn every_byte_of_an_encoding_is_read_and_no_other() {
        let all: Vec<u8> = (0..=255).collect();
        let latin: String = (0..=255u8).map(char::from).collect();
        assert_eq!(read(&all, Some("latin-1")), Ok((latin, "latin-1")));
        assert_eq!(
            read(b"\x80\xe9", Some("cp1252")),
            Ok(("\u{20ac}\u{e9}".to_owned(), "windows-1252"))
        );
        for byte in NOT_IN_WINDOWS_1252 {
            assert_eq!(
                read(&[b'a', byte], Some("windows-1252")),
                Err("a byte that is not valid windows-1252".to_owned())
            );
        }
        assert_eq!(
            read(b"a\x00\xd8", Some("utf-16le")),
            Err("a byte that is not valid UTF-16LE".to_owned()),
            "half a character"
        );
        assert_eq!(
            read(b"\x82\xa0", Some("shift_jis")),
            Ok(("\u{3042}".to_owned(), "Shift_JIS"))
        );
        assert_eq!(
            read(b"\xe4\xf6", Some("cp1250")),
            Ok(("\u{e4}\u{f6}".to_owned(), "windows-1250"))
        );
        assert_eq!(Encoding::named("klingon"), None);
    }

    #[test]
    fn long_text_is_decoded_in_pieces() {
        let text = "\u{e9}\u{20ac}\u{1f600}x".repeat(50_000);
        let bytes = [b"\xff\xfe".as_slice(), &utf16(&text, u16::to_le_bytes)].concat();
        assert_eq!(read(&bytes, None).map(|(read, _)| read == text), Ok(true));
        let mut wrong = vec![b'a'; 200_000];
        wrong[150_000] = 0x81;
        let (mut from, _) =
            decoded(Box::new(Cursor::new(wrong)), Encoding::named("cp1252")).expect("it opens");
        let mut good = Vec::new();
        assert!(from.read_to_end(&mut good).is_err());
        assert_eq!(good.len(), 150_000, "what comes before is read");
    }
}
