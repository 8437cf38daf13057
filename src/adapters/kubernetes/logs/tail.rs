//! Lines of logs, each counted once: where the last look ended, and what the last minute held.
use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

/// Longer lines are cut; no error says what it is only there.
const LINE_BYTES: usize = 4_096;
/// Error lines of the last minute that are remembered.
const ERRORS_MAX: usize = 100_000;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) at: Timestamp,
    pub(super) text: String,
}

/// What one request brought.
pub(super) struct Page {
    lines: Vec<Line>,
    /// There was more than may be read at once.
    cut: bool,
}

impl Page {
    /// `bytes` as the API sends them with timestamps, at most `limit`.
    pub(super) fn new(bytes: &[u8], limit: usize) -> Self {
        let cut = bytes.len() >= limit;
        // The last line of a page that was cut is not whole.
        let whole = if cut { bytes.iter().rposition(|b| *b == b'\n').unwrap_or(0) } else { bytes.len() };
        let lines = bytes.get(..whole).unwrap_or_default().split(|b| *b == b'\n').filter_map(line);
        Self { lines: lines.collect(), cut }
    }
}

fn line(bytes: &[u8]) -> Option<Line> {
    let space = bytes.iter().position(|b| *b == b' ')?;
    let (at, rest) = bytes.split_at(space);
    let at = std::str::from_utf8(at).ok()?.parse().ok()?;
    let text = rest.get(1..rest.len().min(LINE_BYTES))?;
    Some(Line { at, text: String::from_utf8_lossy(text).into_owned() })
}

/// How far one pod's log has been read.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    last: Timestamp,
    /// Lines of just that moment that were counted.
    of_last: usize,
    errors: VecDeque<Timestamp>,
}

impl Tail {
    pub(super) fn new(since: Timestamp) -> Self {
        Self { last: since, of_last: 0, errors: VecDeque::new() }
    }

    pub(super) fn since(&self) -> Timestamp {
        self.last
    }

    /// The error lines that were not counted before. What did not fit into the page is passed over.
    pub(super) fn take(&mut self, at: Timestamp, page: Page, is_error: impl Fn(&str) -> bool) -> Vec<Line> {
        let (mut repeated, mut errors) = (self.of_last, Vec::new());
        for line in page.lines {
            if line.at < self.last {
                continue;
            }
            if line.at == self.last && repeated > 0 {
                repeated -= 1;
                continue;
            }
            self.of_last = if line.at == self.last { self.of_last + 1 } else { 1 };
            self.last = line.at;
            if is_error(&line.text) {
                self.errors.push_back(line.at.min(at));
                errors.push(line);
            }
        }
        if page.cut && at > self.last {
            (self.last, self.of_last) = (at, 0);
        }
        while self.errors.len() > ERRORS_MAX {
            self.errors.pop_front();
        }
        errors
    }

    pub(super) fn errors_within(&mut self, at: Timestamp, window: SignedDuration) -> usize {
        while self.errors.front().is_some_and(|error| at.duration_since(*error) >= window) {
            self.errors.pop_front();
        }
        self.errors.len()
    }
}

/// Error lines of each whole minute between two moments, over several pods.
pub(super) struct Minutes {
    from: Timestamp,
    sums: Vec<(usize, usize)>,
}

impl Minutes {
    pub(super) fn new(from: Timestamp, to: Timestamp) -> Self {
        let minutes = usize::try_from(to.duration_since(from).as_secs() / 60).unwrap_or(0);
        Self { from, sums: vec![(0, 0); minutes] }
    }

    /// A pod without a line may not have been there. Of a page that was cut only what it covers counts.
    pub(super) fn take(&mut self, page: Page, is_error: impl Fn(&str) -> bool) -> Vec<Line> {
        let Some(last) = page.lines.last().map(|line| line.at) else { return Vec::new() };
        let covered = if page.cut { self.minute(last).unwrap_or(0) } else { self.sums.len() };
        self.sums.iter_mut().take(covered).for_each(|(_, pods)| *pods += 1);
        let mut errors = Vec::new();
        for line in page.lines {
            let Some(minute) = self.minute(line.at).filter(|_| is_error(&line.text)) else { continue };
            if let Some((sum, _)) = self.sums.get_mut(minute).filter(|_| minute < covered) {
                *sum += 1;
                errors.push(line);
            }
        }
        errors
    }

    fn minute(&self, at: Timestamp) -> Option<usize> {
        usize::try_from(at.duration_since(self.from).as_secs()).ok().map(|secs| secs / 60)
    }

    /// Of a pod, on average.
    pub(super) fn means(&self) -> Vec<f64> {
        let known = self.sums.iter().filter(|(_, pods)| *pods > 0);
        known.map(|(sum, pods)| *sum as f64 / *pods as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 10_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn page(lines: &[(i64, &str)]) -> Page {
        let text: String = lines.iter().map(|(second, text)| format!("{} {text}\n", at(*second))).collect();
        Page::new(text.as_bytes(), LIMIT)
    }

    fn is_error(line: &str) -> bool {
        line.contains("ERROR")
    }

    #[test]
    fn each_line_counts_once_however_often_it_is_sent() {
        let mut tail = Tail::new(at(0));
        let first = [(1, "ERROR a"), (2, "fine"), (2, "ERROR b")];
        assert_eq!(tail.take(at(5), page(&first), is_error).len(), 2);
        assert_eq!(tail.since(), at(2));
        let again = [(2, "fine"), (2, "ERROR b"), (2, "ERROR c"), (3, "ERROR d")];
        let texts: Vec<_> = tail.take(at(10), page(&again), is_error).into_iter().map(|l| l.text).collect();
        assert_eq!(texts, ["ERROR c", "ERROR d"]);
        assert_eq!(tail.take(at(15), page(&[(3, "ERROR d")]), is_error), []);
        assert_eq!(tail.errors_within(at(15), SignedDuration::from_secs(60)), 4);
        assert_eq!(tail.errors_within(at(62), SignedDuration::from_secs(60)), 1, "the others are older");
    }

    #[test]
    fn what_is_too_much_at_once_is_passed_over() {
        let text = format!("{} ERROR a\n{} ERROR b\n{} ERR", at(1), at(2), at(3));
        let mut tail = Tail::new(at(0));
        let errors = tail.take(at(5), Page::new(text.as_bytes(), text.len()), is_error);
        assert_eq!(errors.len(), 2, "the last line is not whole");
        assert_eq!(tail.since(), at(5), "it goes on from now");
    }

    #[test]
    fn lines_without_a_time_and_with_any_bytes_do_no_harm() {
        let mut bytes = b"unable to retrieve container logs\n".to_vec();
        bytes.extend_from_slice(format!("{} ERROR ", at(1)).as_bytes());
        bytes.extend_from_slice(&[0xff, 0xfe, b'\n']);
        let errors = Tail::new(at(0)).take(at(2), Page::new(&bytes, LIMIT), is_error);
        assert_eq!(errors.len(), 1);
    }

    #[test]
    fn the_past_is_a_mean_of_the_pods_that_were_there() {
        let mut minutes = Minutes::new(at(0), at(180));
        minutes.take(page(&[(10, "ERROR a"), (20, "ERROR b"), (70, "ERROR c")]), is_error);
        minutes.take(page(&[(15, "fine")]), is_error);
        minutes.take(page(&[]), is_error);
        assert_eq!(minutes.means(), [1.0, 0.5, 0.0]);
        let mut cut = Minutes::new(at(0), at(180));
        let text = format!("{} ERROR a\n{} ERROR b\n{} E", at(10), at(70), at(71));
        cut.take(Page::new(text.as_bytes(), text.len()), is_error);
        assert_eq!(cut.means(), [1.0], "of the second minute only a part is known");
    }
}
