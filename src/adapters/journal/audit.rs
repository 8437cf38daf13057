//! The journal for whoever does not trust it: read beside the daemon, checked whole, and the first broken record named.
use async_trait::async_trait;

use super::chain::{Line, Tail};
use crate::domain::event::RECORD_VERSION;
use crate::domain::head::HeadMark;
use crate::ports::{Head, JournalError};

/// Records that are read at once.
pub const PAGE: usize = 1000;

/// All records of a journal as they are stored, read without holding up whoever writes it.
#[async_trait]
pub trait AuditTrail: Send {
    /// The next records after this number, in their order, at most `limit`.
    async fn after(&mut self, seq: u64, limit: usize) -> Result<Vec<Line>, JournalError>;
}

/// Where the chain breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub seq: u64,
    pub why: String,
}

/// Follows the whole chain; `kept` is a head that was told or noted down earlier.
///
/// # Errors
/// When the journal cannot be read, or was written by a newer version.
pub async fn verify(
    trail: &mut dyn AuditTrail,
    kept: Option<&HeadMark>,
) -> Result<Result<Head, Broken>, JournalError> {
    let mut tail = Tail::default();
    loop {
        // One more than is followed: who comes after a record is a witness of what it was.
        let page = match trail.after(tail.seq, PAGE + 1).await {
            Ok(page) => page,
            Err(JournalError::Damaged { why, .. }) => {
                let why = format!("it, or one of the {PAGE} from it on, cannot be read: {why}");
                return Ok(Err(Broken { seq: tail.seq + 1, why }));
            }
            Err(error) => return Err(error),
        };
        for (i, line) in page.iter().take(PAGE).enumerate() {
            match step(&tail, line, page.get(i + 1), kept)? {
                Ok(next) => tail = next,
                Err(broken) => return Ok(Err(broken)),
            }
        }
        if page.len() <= PAGE {
            return Ok(reached(tail, kept));
        }
    }
}

fn step(
    tail: &Tail,
    line: &Line,
    next: Option<&Line>,
    kept: Option<&HeadMark>,
) -> Result<Result<Tail, Broken>, JournalError> {
    if line.v > RECORD_VERSION {
        return Err(JournalError::Newer { found: line.v, known: RECORD_VERSION });
    }
    if line.seq != tail.seq + 1 {
        let why = format!("it is missing: record {} comes next", line.seq);
        return Ok(Err(Broken { seq: tail.seq + 1, why }));
    }
    let kept = kept.filter(|kept| kept.seq == line.seq);
    if line.prev_hash != tail.hash {
        return Ok(Err(culprit(tail, line, next, kept)));
    }
    let here = Tail::of(line);
    if kept.is_some_and(|kept| !kept.fits(&here.hash)) {
        let why = format!(
            "its hash is {}, and it was another when its head was kept: it or records before it were altered, and what follows was made to fit",
            HeadMark::short(here.seq, &here.hash)
        );
        return Ok(Err(Broken { seq: line.seq, why }));
    }
    Ok(Ok(here))
}

/// Which of two records that do not fit together was altered, as far as a third one knows.
fn culprit(tail: &Tail, line: &Line, next: Option<&Line>, kept: Option<&HeadMark>) -> Broken {
    let known = |hash: &str| next.is_some_and(|n| n.prev_hash == hash) || kept.is_some_and(|k| k.fits(hash));
    if tail.seq == 0 {
        return Broken {
            seq: line.seq,
            why: "it does not begin a journal: its prev_hash is not zeros".into(),
        };
    }
    if known(&line.hash()) {
        let why = format!("it was altered: record {} was appended after another text", line.seq);
        return Broken { seq: tail.seq, why };
    }
    if known(&Line { prev_hash: tail.hash.clone(), ..line.clone() }.hash()) {
        return Broken { seq: line.seq, why: "its prev_hash was altered".into() };
    }
    let why = format!(
        "it does not follow from record {}: one of them was altered, or stands in the place of another",
        tail.seq
    );
    Broken { seq: line.seq, why }
}

fn reached(tail: Tail, kept: Option<&HeadMark>) -> Result<Head, Broken> {
    match kept {
        Some(kept) if kept.seq > tail.seq => {
            let why = format!(
                "it is missing: the journal ends at record {} and had reached {}, so its end was cut off or an older copy was put back",
                tail.seq, kept.seq
            );
            Err(Broken { seq: tail.seq + 1, why })
        }
        Some(_) | None => Ok(tail),
    }
}
