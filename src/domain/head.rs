//! The end of the journal's chain as people keep it: a record's number with the beginning of its hash.
use std::fmt;
use std::str::FromStr;

/// Digits of the hash that are told, and the fewest that are taken: 64 bits, which nobody can forge a record for.
const DIGITS: usize = 16;
const DIGITS_MAX: usize = 64;

/// Such as `1234:ab12cd34ef56ab12`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadMark {
    pub seq: u64,
    digits: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is no head of a journal: write SEQ:HASH with at least 16 digits of the hash, such as 1234:ab12cd34ef56ab12"
)]
pub struct NotAHead {
    given: String,
}

impl HeadMark {
    /// The calm form for messages.
    pub fn short(seq: u64, hash: &str) -> Self {
        Self { seq, digits: hash.chars().take(DIGITS).collect() }
    }

    /// Whether the record of this number has that hash.
    pub fn fits(&self, hash: &str) -> bool {
        hash.starts_with(&self.digits)
    }
}

impl fmt::Display for HeadMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.digits)
    }
}

impl FromStr for HeadMark {
    type Err = NotAHead;

    fn from_str(given: &str) -> Result<Self, NotAHead> {
        let mistaken = || NotAHead { given: given.to_string() };
        let (seq, digits) = given.trim().split_once(':').ok_or_else(mistaken)?;
        let seq = seq.parse().map_err(|_| mistaken())?;
        let is_hash = digits.chars().all(|c| c.is_ascii_hexdigit());
        if !is_hash || !(DIGITS..=DIGITS_MAX).contains(&digits.len()) {
            return Err(mistaken());
        }
        Ok(Self { seq, digits: digits.to_ascii_lowercase() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_is_told() {
        let hash = "ab12cd34ef56ab12".repeat(4);
        let short = HeadMark::short(1234, &hash);
        assert_eq!(short.to_string(), "1234:ab12cd34ef56ab12");
        assert_eq!(short.to_string().parse(), Ok(short.clone()));
        assert!(short.fits(&hash) && !short.fits(&"0".repeat(64)));
        assert!(format!("1234:{}", hash.to_uppercase()).parse::<HeadMark>().unwrap().fits(&hash));
    }

    #[test]
    fn too_few_digits_prove_nothing() {
        for bad in [
            "",
            "1234",
            "1234:ab12",
            "x:ab12cd34ef56ab12",
            "1:zz12cd34ef56ab12",
            &format!("1:{}", "a".repeat(65)),
        ] {
            let error = bad.parse::<HeadMark>().unwrap_err().to_string();
            assert!(error.contains("SEQ:HASH"), "{error}");
        }
    }
}
