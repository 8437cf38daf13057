//! Reads a selector's text from left to right and knows where it is, for the errors.
use super::SelectorError;

#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

pub fn is_name_char(c: char) -> bool {
    c == ':' || is_label_char(c)
}
pub(super) fn is_label_char(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }
    pub(super) fn at_end(&self) -> bool {
        self.rest().is_empty()
    }

    pub(super) fn fail(&self, what: &str) -> SelectorError {
        let position = self.text[..self.at].chars().count() + 1;
        SelectorError { position, what: what.into() }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    pub(super) fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// A name: the longest run of such characters that does not begin with a digit.
    pub(super) fn take_while(&mut self, wanted: fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        if rest.starts_with(|c: char| c.is_ascii_digit()) {
            return "";
        }
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    pub(super) fn skip_blank(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    /// A string literal with Go's escapes, as PromQL has them: in ", in ' or raw in `.
    pub(super) fn string(&mut self) -> Result<String, SelectorError> {
        let opening = *self;
        let mut bytes = Vec::new();
        match self.next() {
            Some('`') => {
                let rest = self.rest();
                let end = rest.find('`').ok_or_else(|| opening.fail("a string without an end"))?;
                self.at += end + 1;
                return Ok(rest[..end].to_string());
            }
            Some(quote @ ('"' | '\'')) => loop {
                let before = *self;
                match self.next() {
                    Some('\\') => {
                        self.escape(quote, &mut bytes).ok_or_else(|| before.fail("unknown escape"))?
                    }
                    Some(c) if c == quote => break,
                    Some('\n') | None => return Err(opening.fail("a string without an end")),
                    Some(c) => push(&mut bytes, c),
                }
            },
            Some(_) | None => return Err(opening.fail("expected a string in quotes")),
        }
        String::from_utf8(bytes).map_err(|_| opening.fail("a string that is not UTF-8"))
    }

    fn escape(&mut self, quote: char, bytes: &mut Vec<u8>) -> Option<()> {
        let byte = match self.next()? {
            'a' => 0x07,
            'b' => 0x08,
            't' => b'\t',
            'n' => b'\n',
            'v' => 0x0b,
            'f' => 0x0c,
            'r' => b'\r',
            '\\' => b'\\',
            'x' => u8::try_from(self.digits(2, 16)?).ok()?,
            '0'..='7' => {
                self.at -= 1;
                u8::try_from(self.digits(3, 8)?).ok()?
            }
            'u' => {
                push(bytes, char::from_u32(self.digits(4, 16)?)?);
                return Some(());
            }
            'U' => {
                push(bytes, char::from_u32(self.digits(8, 16)?)?);
                return Some(());
            }
            c if c == quote => {
                push(bytes, c);
                return Some(());
            }
            _ => return None,
        };
        bytes.push(byte);
        Some(())
    }

    fn digits(&mut self, count: usize, radix: u32) -> Option<u32> {
        let mut number = 0_u32;
        for _ in 0..count {
            number = number.checked_mul(radix)?.checked_add(self.next()?.to_digit(radix)?)?;
        }
        Some(number)
    }
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
