//! Reads recordings: JSON lines, gzipped or plain, whole or cut off, one line in memory at a time.
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::domain::signal::Sample;
use crate::domain::signal::line::{LineReader, Refusal};

/// Longest line that is read; a longer one is an error of that line only.
const LINE_BYTES_MAX: usize = 1 << 20;
const BUFFER_BYTES: usize = 64 << 10;
const WHY_CHARS_MAX: usize = 300;
pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A line that is no sample. Lines are counted from 1, after decompression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct LineError {
    pub line: u64,
    pub why: String,
}

/// The samples of a recording, in the order of its lines. Ends after an error that leaves nothing more to read.
pub struct RecordingReader<'a> {
    input: Box<dyn BufRead + Send + 'a>,
    text: Vec<u8>,
    lines: LineReader,
    line: u64,
    skipped: u64,
    ended: bool,
}

/// Opens a recording.
///
/// # Errors
/// When the file cannot be opened or its first bytes cannot be read.
pub fn read_recording(path: &Path) -> io::Result<RecordingReader<'static>> {
    RecordingReader::new(File::open(path)?)
}

impl<'a> RecordingReader<'a> {
    /// Reads from anything; what begins as gzip is decompressed.
    ///
    /// # Errors
    /// When the first bytes cannot be read.
    pub fn new(mut input: impl Read + Send + 'a) -> io::Result<Self> {
        let mut head = Vec::new();
        (&mut input).take(GZIP_MAGIC.len() as u64).read_to_end(&mut head)?;
        let gzipped = head == GZIP_MAGIC;
        let whole = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(head).chain(input));
        let input: Box<dyn BufRead + Send + 'a> = if gzipped {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(whole)))
        } else {
            Box::new(whole)
        };
        Ok(Self { input, text: Vec::new(), lines: LineReader::default(), line: 0, skipped: 0, ended: false })
    }

    /// Lines that were read, of whatever kind.
    pub fn lines(&self) -> u64 {
        self.line
    }

    /// Lines of kinds that this version does not know; they were passed over.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn next_line(&mut self) -> io::Result<Line> {
        self.text.clear();
        self.line += 1;
        let limit = LINE_BYTES_MAX as u64 + 1;
        let read = (&mut self.input).take(limit).read_until(b'\n', &mut self.text)?;
        if read == 0 {
            self.line -= 1;
            return Ok(Line::End);
        }
        if self.text.last() != Some(&b'\n') && self.text.len() > LINE_BYTES_MAX {
            self.input.skip_until(b'\n')?;
            return Ok(Line::TooLong);
        }
        Ok(if self.text.trim_ascii().is_empty() { Line::Blank } else { Line::Text })
    }

    /// The sample on the current line; `None` for an unknown kind.
    fn parse(&mut self) -> Result<Option<Sample>, LineError> {
        match self.lines.read(&self.text) {
            Ok(sample) => Ok(Some(sample)),
            Err(Refusal::UnknownKind) => Ok(None),
            Err(Refusal::Broken(why)) => Err(self.error(&why)),
        }
    }

    fn error(&self, why: &str) -> LineError {
        LineError { line: self.line, why: why.chars().take(WHY_CHARS_MAX).collect() }
    }
}

enum Line {
    Text,
    Blank,
    TooLong,
    End,
}

impl Iterator for RecordingReader<'_> {
    type Item = Result<Sample, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.next_line() {
                Ok(Line::Blank) => {}
                Ok(Line::End) => self.ended = true,
                Ok(Line::TooLong) => {
                    return Some(Err(self.error(&format!("longer than {LINE_BYTES_MAX} bytes"))));
                }
                Ok(Line::Text) => match self.parse() {
                    Ok(Some(sample)) => return Some(Ok(sample)),
                    Ok(None) => self.skipped += 1,
                    Err(error) => return Some(Err(error)),
                },
                Err(error) => {
                    self.ended = true;
                    return Some(Err(self.error(&format!("the recording breaks off here: {error}"))));
                }
            }
        }
        None
    }
}
