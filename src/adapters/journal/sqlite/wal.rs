//! Looks through SQLite's write-ahead log before SQLite does, which silently forgets what comes after a damaged place.
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use super::super::damaged;
use super::error::file_error;
use crate::ports::JournalError;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The last bit says which way round the numbers of the checksums are.
const MAGIC: u32 = 0x377f_0682;

/// Refuses a log in which commits follow on a damaged place. The next one began only when the one before was synced, so that
/// is no commit that was cut off by a loss of power: such a one is the last.
pub(super) fn check(path: &Path) -> Result<(), JournalError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(file_error(path, &e)),
    };
    let broken = first_lost_commit(BufReader::new(file)).map_err(|e| file_error(path, &e))?;
    match broken {
        None => Ok(()),
        Some(place) => {
            let why = format!("{} is damaged at byte {place}, and holds commits after that", path.display());
            Err(damaged(0, why))
        }
    }
}

/// Where the log is damaged, if that takes a commit away which had been answered.
fn first_lost_commit(mut log: impl Read) -> std::io::Result<Option<u64>> {
    let mut header = [0; HEADER];
    if !filled(&mut log, &mut header)? || header.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let big = word(&header, 0) == MAGIC | 1;
    let mut sum = checksum((0, 0), &header[..24], big);
    let known = word(&header, 0) & !1 == MAGIC && sum == (word(&header, 24), word(&header, 28));
    let page = word(&header, 8) as usize;
    if !known || !page.is_power_of_two() || !(512..=65536).contains(&page) {
        return Ok(Some(0));
    }
    let salt = &header[16..24];
    let (mut place, mut broken, mut commits_after) = (HEADER as u64, None, 0);
    let mut frame = vec![0; FRAME_HEADER + page];
    while filled(&mut log, &mut frame)? {
        let head = &frame[..FRAME_HEADER];
        let ours = &head[8..16] == salt;
        if broken.is_none() {
            sum = checksum(checksum(sum, &head[..8], big), &frame[FRAME_HEADER..], big);
            let whole = ours && sum == (word(head, 16), word(head, 20));
            broken = (!whole).then_some(place);
        }
        let commits = ours && word(head, 4) != 0;
        commits_after += u32::from(broken.is_some() && commits);
        place += frame.len() as u64;
    }
    Ok(broken.filter(|_| commits_after > 1))
}

/// False at the end of the log.
fn filled(log: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    match log.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}

/// All numbers of the log are big-endian, but for those that are summed.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
}

fn checksum(mut sum: (u32, u32), bytes: &[u8], big: bool) -> (u32, u32) {
    let read = |four: &[u8]| {
        let four = four.try_into().unwrap_or_default();
        if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    };
    for (first, second) in bytes.chunks_exact(8).map(|eight| eight.split_at(4)) {
        sum.0 = sum.0.wrapping_add(read(first)).wrapping_add(sum.1);
        sum.1 = sum.1.wrapping_add(read(second)).wrapping_add(sum.0);
    }
    sum
}
