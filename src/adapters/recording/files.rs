//! Recording files on disk: names, appending one compressed batch, and mending a file that was cut off.
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::reader::GZIP_MAGIC;
use crate::domain::signal::Sample;

const SUFFIX: &str = ".jsonl.gz";
/// Well under the 255 bytes that file systems allow.
const NAME_BYTES_MAX: usize = 200;

/// A file name for a watch: `/` becomes `+`, other unusual bytes become `%XX`, so that no two watches share a file.
pub(super) fn name_of(watch: &str) -> String {
    let mut name = String::new();
    for (i, byte) in watch.bytes().enumerate() {
        match byte {
            b'/' => name.push('+'),
            b'.' if i == 0 => name.push_str("%2E"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                name.push(char::from(byte))
            }
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    if name.len() > NAME_BYTES_MAX {
        let hash: String = Sha256::digest(watch).iter().take(16).map(|b| format!("{b:02x}")).collect();
        name.truncate(NAME_BYTES_MAX - hash.len() - 1);
        name = format!("{name}%{hash}");
    }
    name + SUFFIX
}

/// A recording found on disk.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) modified: SystemTime,
}

pub(super) fn list(dir: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        let name = entry.file_name();
        match name.to_str().filter(|name| name.ends_with(SUFFIX)) {
            Some(name) if meta.is_file() => {
                found.push(Found { name: name.to_string(), bytes: meta.len(), modified: meta.modified()? });
            }
            Some(_) | None => {}
        }
    }
    Ok(found)
}

/// One batch as a complete gzip member: whatever is cut off later, everything before it stays readable, and no encoder
/// (a quarter of a megabyte each) is kept for every open watch.
pub(super) fn encode(samples: &[Sample]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for sample in samples {
        serde_json::to_writer(&mut encoder, sample)?;
        encoder.write_all(b"\n")?;
    }
    encoder.finish()
}

/// Appends at `end`; after a failure the file is as it was. `newest` becomes the file's time.
pub(super) fn append(path: &Path, end: u64, member: &[u8], newest: SystemTime) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let written = file.write_all(member).and_then(|()| file.set_modified(newest));
    written.inspect_err(|_| {
        if let Err(error) = file.set_len(end) {
            tracing::warn!(path = %path.display(), %error, "half a batch stays in the recording");
        }
    })
}

/// Cuts off what a killed process left half-written, and returns the length that remains. What never was a gzip file is
/// not ours and stays as it is.
pub(super) fn mend(path: &Path) -> io::Result<u64> {
    let end = match File::open(path) {
        Ok(file) if is_foreign(&file)? => return Err(io::Error::other("the file there is no recording")),
        Ok(file) => end_of_last_member(file)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e),
    };
    let file = OpenOptions::new().write(true).open(path)?;
    if file.metadata()?.len() != end {
        file.set_len(end)?;
    }
    Ok(end)
}

fn is_foreign(file: &File) -> io::Result<bool> {
    let mut head = [0; GZIP_MAGIC.len()];
    let read = file.read_at(&mut head, 0)?;
    Ok(!GZIP_MAGIC.starts_with(&head[..read]))
}

fn end_of_last_member(file: File) -> io::Result<u64> {
    let size = file.metadata()?.len();
    let mut input = BufReader::new(file);
    let mut end = 0;
    while end < size {
        let mut member = GzDecoder::new(Counted { inner: input, consumed: 0 });
        match io::copy(&mut member, &mut io::sink()) {
            Ok(_) => {}
            Err(e) if is_cut_off(e.kind()) => break,
            Err(e) => return Err(e),
        }
        let counted = member.into_inner();
        end += counted.consumed;
        input = counted.inner;
    }
    Ok(end)
}

/// How the decoder reports a member that is not whole, as opposed to a disk that cannot be read.
fn is_cut_off(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
}

/// Counts what the decoder took, which is less than what was read ahead.
struct Counted<R> {
    inner: R,
    consumed: u64,
}

impl<R: io::BufRead> io::Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(into)?;
        self.consumed += n as u64;
        Ok(n)
    }
}

impl<R: io::BufRead> io::BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }
    fn consume(&mut self, amount: usize) {
        self.consumed += amount as u64;
        self.inner.consume(amount);
    }
}
