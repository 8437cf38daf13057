//! The hash chain through all records: each names the SHA-256 of the one before it, so that no line can be altered unseen.
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::domain::event::{RECORD_VERSION, Record, StreamId};
use crate::ports::{Head, JournalError, NewRecord};

/// A record as text. The body is kept verbatim: read and written again, a number could come out differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub(super) v: u32,
    pub seq: u64,
    pub stream: String,
    pub at: String,
    pub(super) epoch: u64,
    pub(super) kind: String,
    pub(super) body: String,
    pub(super) prev_hash: String,
}

/// The end of the chain, as of some record.
pub(super) type Tail = Head;

impl Default for Head {
    fn default() -> Self {
        Self { seq: 0, hash: "0".repeat(64) }
    }
}

impl Tail {
    /// The line that comes after this one.
    pub(super) fn next(&self, new: &NewRecord, at: Timestamp, epoch: u64) -> Line {
        Line {
            v: RECORD_VERSION,
            seq: self.seq + 1,
            stream: new.stream.as_str().to_string(),
            at: at.to_string(),
            epoch,
            kind: new.kind.clone(),
            body: new.body.to_string(),
            prev_hash: self.hash.clone(),
        }
    }

    pub(super) fn of(line: &Line) -> Self {
        Self { seq: line.seq, hash: line.hash() }
    }

    /// Moves on to `line`, if it is the one that belongs here.
    pub(super) fn follow(&self, line: &Line) -> Result<Self, JournalError> {
        if line.v > RECORD_VERSION {
            return Err(JournalError::Newer { found: line.v, known: RECORD_VERSION });
        }
        let damaged = |why: &str| Err(JournalError::Damaged { seq: line.seq, why: why.to_string() });
        if line.seq != self.seq + 1 {
            return damaged("the records before it are missing");
        }
        if line.prev_hash != self.hash {
            return damaged("it or the record before it was altered, the hash chain is broken");
        }
        Ok(Self::of(line))
    }
}

impl Line {
    /// The record's JSON, byte for byte as serde writes it: what its hash is made of.
    pub fn json(&self) -> String {
        let text = |s: &str| Value::from(s).to_string();
        format!(
            r#"{{"v":{},"seq":{},"stream":{},"at":{},"epoch":{},"kind":{},"body":{},"prev_hash":{}}}"#,
            self.v,
            self.seq,
            text(&self.stream),
            text(&self.at),
            self.epoch,
            text(&self.kind),
            self.body,
            text(&self.prev_hash)
        )
    }

    pub(super) fn hash(&self) -> String {
        Sha256::digest(self.json()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn parse(self) -> Result<Record, JournalError> {
        if self.v > RECORD_VERSION {
            return Err(JournalError::Newer { found: self.v, known: RECORD_VERSION });
        }
        let damaged = |what: &str, why: String| JournalError::Damaged {
            seq: self.seq,
            why: format!("its {what} is unreadable: {why}"),
        };
        Ok(Record {
            v: self.v,
            seq: self.seq,
            stream: StreamId::stored(self.stream),
            at: self.at.parse().map_err(|e: jiff::Error| damaged("time", e.to_string()))?,
            epoch: self.epoch,
            kind: self.kind,
            body: serde_json::from_str(&self.body).map_err(|e| damaged("body", e.to_string()))?,
            prev_hash: self.prev_hash,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(tail: &Tail, body: Value) -> Line {
        let new = NewRecord { stream: StreamId::run("r\"1"), kind: "opened".into(), body };
        tail.next(&new, "2026-11-22T10:00:00.5Z".parse().unwrap(), 3)
    }

    #[test]
    fn a_line_is_the_json_of_its_record() {
        let line = line(&Tail::default(), json!({"b": [1.5, null, "ü\n"], "a": {}}));
        let record = line.clone().parse().unwrap();
        assert_eq!(line.json(), serde_json::to_string(&record).unwrap());
    }

    #[test]
    fn an_altered_a_missing_and_a_newer_line_are_noticed() {
        let first = line(&Tail::default(), json!(1));
        let tail = Tail::default().follow(&first).unwrap();
        let second = line(&tail, json!(2));
        assert!(tail.follow(&second).is_ok());

        let altered = Tail::of(&Line { body: "9".into(), ..first });
        assert!(matches!(altered.follow(&second), Err(JournalError::Damaged { seq: 2, .. })));
        assert!(matches!(Tail::default().follow(&second), Err(JournalError::Damaged { seq: 2, .. })));
        let newer = Line { v: RECORD_VERSION + 1, ..second };
        assert!(matches!(tail.follow(&newer), Err(JournalError::Newer { .. })));
    }
}
