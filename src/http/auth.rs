//! Who may call: bearer tokens of people and of Alertmanager, and a limit for those who guess.
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::Now;
use super::error::ApiError;
use crate::domain::names::PersonName;
use crate::engine::current::Current;

/// Wrong tokens per source and minute before it is told to wait.
const FAILURES_MAX: u32 = 10;
const WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// Sources remembered at once; beyond this the oldest ones are forgotten.
const SOURCES_MAX: usize = 4096;

/// A token as we keep it: it cannot be printed, and comparing takes the same time wherever it differs.
#[derive(Clone)]
struct TokenHash([u8; 32]);

impl TokenHash {
    fn of(token: &str) -> Self {
        Self(Sha256::digest(token.trim()).into())
    }
    fn is(&self, other: &TokenHash) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }
}

/// People and their tokens. A person may have several, so that one can be replaced without a gap.
#[derive(Clone, Default)]
pub struct People(Vec<(PersonName, TokenHash)>);

impl People {
    pub fn new(people: Vec<(PersonName, SecretString)>) -> Self {
        let hash = |(name, token): (PersonName, SecretString)| (name, TokenHash::of(token.expose_secret()));
        Self(people.into_iter().map(hash).collect())
    }

    /// Looks at every entry, found or not.
    fn who(&self, presented: &TokenHash) -> Option<&PersonName> {
        self.0.iter().fold(None, |found, (name, hash)| if hash.is(presented) { Some(name) } else { found })
    }
}

struct Failures {
    count: u32,
    since: Timestamp,
}

/// Whom the configuration knows.
struct Known {
    people: People,
    webhook: Option<TokenHash>,
}

impl Known {
    fn of(people: People, webhook: Option<&SecretString>) -> Arc<Self> {
        let webhook = webhook.map(|token| TokenHash::of(token.expose_secret()));
        Arc::new(Self { people, webhook })
    }
}

/// Lets callers in.
pub(super) struct Gate {
    known: Current<Known>,
    open_reads: bool,
    failures: Mutex<HashMap<IpAddr, Failures>>,
    now: Now,
}

impl Gate {
    pub(super) fn new(people: People, webhook: Option<&SecretString>, open_reads: bool, now: Now) -> Self {
        Self { known: Known::of(people, webhook).into(), open_reads, failures: Mutex::default(), now }
    }

    /// From now on these are known. Who has guessed before has still guessed.
    pub(super) fn admit(&self, people: People, webhook: Option<&SecretString>) {
        self.known.set(Known::of(people, webhook));
    }

    /// The person behind a call that changes something.
    pub(super) fn person(&self, headers: &HeaderMap, from: IpAddr) -> Result<PersonName, ApiError> {
        let presented = token_of(headers)?;
        // Not even a right token is looked at then: otherwise guessing would go on at full speed.
        self.still_welcome(from)?;
        let known = self.known.get();
        if let Some(name) = known.people.who(&presented) {
            return Ok(name.clone());
        }
        if known.webhook.as_ref().is_some_and(|hash| hash.is(&presented)) {
            return Err(forbidden("the webhook's token is no person's: use your own"));
        }
        Err(self.refuse(from))
    }

    pub(super) fn reader(&self, headers: &HeaderMap, from: IpAddr) -> Result<(), ApiError> {
        if self.open_reads { Ok(()) } else { self.person(headers, from).map(|_| ()) }
    }

    /// Alertmanager gives up on an alert for any answer but 5xx, so its right token always passes, whoever guesses
    /// from the same address.
    pub(super) fn webhook(&self, headers: &HeaderMap, from: IpAddr) -> Result<(), ApiError> {
        let known = self.known.get();
        let Some(wanted) = &known.webhook else { return self.reader(headers, from) };
        let presented = token_of(headers)?;
        if wanted.is(&presented) {
            return Ok(());
        }
        self.still_welcome(from)?;
        if known.people.who(&presented).is_some() {
            return Err(forbidden("a person's token does not open the webhook: use the webhook's own"));
        }
        Err(self.refuse(from))
    }

    fn still_welcome(&self, from: IpAddr) -> Result<(), ApiError> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = failures.get(&from) else { return Ok(()) };
        let left = WINDOW - (self.now)().duration_since(seen.since);
        if seen.count < FAILURES_MAX || !left.is_positive() {
            return Ok(());
        }
        let secs = u32::try_from(left.as_secs()).unwrap_or(0) + 1;
        let message = format!("too many wrong tokens from your address: try again in {secs} s");
        Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", message).retry_after(secs))
    }

    fn refuse(&self, from: IpAddr) -> ApiError {
        let now = (self.now)();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= SOURCES_MAX {
            failures.retain(|_, seen| now.duration_since(seen.since) < WINDOW);
        }
        if failures.len() >= SOURCES_MAX {
            let oldest = failures.iter().min_by_key(|(_, seen)| seen.since).map(|(source, _)| *source);
            oldest.map(|source| failures.remove(&source));
        }
        let seen = failures.entry(from).or_insert(Failures { count: 0, since: now });
        if now.duration_since(seen.since) >= WINDOW {
            *seen = Failures { count: 0, since: now };
        }
        seen.count = seen.count.saturating_add(1);
        tracing::warn!(%from, failures = seen.count, "a call with a token that nobody has");
        unauthorized("nobody has this token: check the token file, or ask whoever runs rollguard")
    }
}

fn token_of(headers: &HeaderMap) -> Result<TokenHash, ApiError> {
    let missing = || unauthorized("this needs a token: send `Authorization: Bearer TOKEN`");
    let value = headers.get(header::AUTHORIZATION).ok_or_else(missing)?;
    let text = value.to_str().map_err(|_| missing())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(missing)?;
    let bearer = scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty();
    bearer.then(|| TokenHash::of(token)).ok_or_else(missing)
}

fn unauthorized(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}

fn forbidden(message: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "forbidden", message)
}
