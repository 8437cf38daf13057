//! The quick way through a line that is plainly written, as nearly all are; what is not goes the way of all JSON.
use super::{Names, Reading, Sample};
use crate::domain::histogram::{Buckets, Histogram, parse_bound};

/// More digits may need the exact conversion.
const DIGITS_MAX: usize = 15;
const POWERS: [f64; DIGITS_MAX + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// The same as serde makes of a line of counts, of a value or of buckets; `None` for anything unusual: other kinds and
/// keys, escapes, nulls, keys that come twice, signs, exponents, long numbers, and everything that is wrong.
pub(super) fn sample(text: &[u8], names: &mut Names) -> Option<Sample> {
    // One pass without branches for what no plain line has; then only quotes have to be looked for.
    let text = text.trim_ascii_end();
    let strange = text.iter().fold(false, |strange, byte| strange | (*byte == b'\\') | (*byte < b' '));
    if strange {
        return None;
    }
    plain(str::from_utf8(text).ok()?)?.sample(names)
}

/// The keys of such a line.
#[derive(Default)]
struct Plain<'a> {
    at: Option<&'a str>,
    kind: Option<&'a str>,
    service: Option<&'a str>,
    target: Option<&'a str>,
    release: Option<&'a str>,
    pod: Option<&'a str>,
    rule: Option<&'a str>,
    bad: Option<f64>,
    total: Option<f64>,
    value: Option<f64>,
    buckets: Option<Buckets>,
}

impl Plain<'_> {
    fn sample(self, names: &mut Names) -> Option<Sample> {
        let rule = names.rule(self.rule?).ok()?;
        let reading = match (self.kind?, self.buckets) {
            ("counts", _) => Reading::Counts { rule, bad: self.bad?, total: self.total? },
            ("histogram", Some(buckets)) => Reading::Histogram { rule, times: Histogram::Classic(buckets) },
            ("value", _) => Reading::Value { rule, value: self.value? },
            _ => return None,
        };
        Some(Sample {
            at: names.time(self.at?).ok()?,
            service: names.service(self.service?).ok()?,
            target: self.target.map(|target| names.target(target)).transpose().ok()?,
            release: self.release.map(str::to_string),
            pod: self.pod.map(str::to_string),
            reading,
        })
    }
}

fn plain(text: &str) -> Option<Plain<'_>> {
    let (mut scan, mut line) = (Scan { text, at: 0 }, Plain::default());
    scan.spaces();
    scan.expect(b'{')?;
    loop {
        scan.spaces();
        let key = scan.string()?;
        scan.spaces();
        scan.expect(b':')?;
        scan.spaces();
        scan.value(key, &mut line)?;
        scan.spaces();
        match scan.take()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    (scan.at == text.len()).then_some(line)
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.take()? == wanted).then_some(())
    }

    fn spaces(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    fn value(&mut self, key: &str, line: &mut Plain<'a>) -> Option<()> {
        let text = match key {
            "at" => &mut line.at,
            "kind" => &mut line.kind,
            "service" => &mut line.service,
            "target" => &mut line.target,
            "release" => &mut line.release,
            "pod" => &mut line.pod,
            "rule" => &mut line.rule,
            "bad" => return once(&mut line.bad, self.number()?),
            "total" => return once(&mut line.total, self.number()?),
            "value" => return once(&mut line.value, self.number()?),
            "buckets" => return once(&mut line.buckets, self.buckets()?),
            _ => return None,
        };
        once(text, self.string()?)
    }

    fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let rest = self.text.as_bytes().get(self.at..)?;
        let length = rest.iter().position(|byte| *byte == b'"')?;
        let text = self.text.get(self.at..self.at + length)?;
        self.at += length + 1;
        Some(text)
    }

    /// Digits, perhaps with a point between: few enough that the quotient of two exact numbers is the nearest one.
    fn number(&mut self) -> Option<f64> {
        let (whole, digits) = self.digits(0)?;
        let padded = digits > 1 && self.text.as_bytes().get(self.at - digits) == Some(&b'0');
        let (sum, fraction) = match self.peek() {
            Some(b'.') => {
                self.at += 1;
                self.digits(whole)?
            }
            _ => (whole, 0),
        };
        let ends = !matches!(self.peek(), Some(b'e' | b'E' | b'.'));
        let scale = POWERS.get(fraction)?;
        (ends && !padded && digits + fraction <= DIGITS_MAX).then(|| sum as f64 / scale)
    }

    /// Appends digits to a number; at least one.
    fn digits(&mut self, number: u64) -> Option<(u64, usize)> {
        let (mut number, begin) = (number, self.at);
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        (self.at > begin).then_some((number, self.at - begin))
    }

    fn buckets(&mut self) -> Option<Buckets> {
        let mut bounds = Vec::with_capacity(16);
        self.expect(b'{')?;
        loop {
            self.spaces();
            let bound = parse_bound(self.string()?).ok()?;
            self.spaces();
            self.expect(b':')?;
            self.spaces();
            bounds.push((bound, self.number()?));
            self.spaces();
            match self.take()? {
                b',' => {}
                b'}' => return Buckets::read(bounds).ok(),
                _ => return None,
            }
        }
    }
}

/// A key that comes twice is an error, which serde words.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}
