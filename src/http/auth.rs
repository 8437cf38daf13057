//! Who may call: bearer tokens of people and of Alertmanager, and a limit for those who guess.
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::Now;
use super::error::ApiError;
use super::slack::SlackApp;
use crate::domain::names::PersonName;
use crate::domain::role::Role;
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

/// Somebody who may call, and what for.
#[derive(Clone)]
pub struct Member {
    pub name: PersonName,
    pub roles: BTreeSet<Role>,
    /// SHA-256 of the token.
    pub token: Option<[u8; 32]>,
    /// The user ID in Slack.
    pub slack: Option<String>,
}

impl Member {
    /// # Errors
    /// A person who does not have the role.
    pub(super) fn may(&self, role: Role) -> Result<(), ApiError> {
        if self.roles.contains(&role) {
            return Ok(());
        }
        Err(forbidden(&format!("{} may not do this: it needs the role {role} in api.people", self.name)))
    }

    fn has(&self, presented: &TokenHash) -> bool {
        self.token.is_some_and(|token| TokenHash(token).is(presented))
    }
}

/// People and how they are known.
#[derive(Clone, Default)]
pub struct People {
    members: Vec<Member>,
    slack: Option<SlackApp>,
}

impl People {
    /// By their tokens, with the usual roles.
    pub fn new(people: Vec<(PersonName, SecretString)>) -> Self {
        let member = |(name, token): (PersonName, SecretString)| Member {
            name,
            roles: BTreeSet::from(Role::USUAL),
            token: Some(TokenHash::of(token.expose_secret()).0),
            slack: None,
        };
        Self::of(people.into_iter().map(member).collect(), None)
    }

    pub fn of(members: Vec<Member>, slack: Option<SlackApp>) -> Self {
        Self { members, slack }
    }

    /// Looks at every entry, found or not.
    fn who(&self, presented: &TokenHash) -> Option<&Member> {
        self.members
            .iter()
            .fold(None, |found, member| if member.has(presented) { Some(member) } else { found })
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

    /// The person behind a call that changes something, who may do that.
    pub(super) fn allowed(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
        role: Role,
    ) -> Result<PersonName, ApiError> {
        let member = self.person(headers, from)?;
        member.may(role)?;
        Ok(member.name)
    }

    /// The Slack app whose buttons are answered.
    pub(super) fn slack(&self) -> Option<SlackApp> {
        self.known.get().people.slack.clone()
    }

    /// Who has this user ID in Slack.
    pub(super) fn in_slack(&self, user: &str) -> Option<Member> {
        let known = self.known.get();
        known.people.members.iter().find(|member| member.slack.as_deref() == Some(user)).cloned()
    }

    /// A request that is not what it says counts like a wrong token.
    pub(super) fn refuse_forged(&self, from: IpAddr, why: &str) -> ApiError {
        match self.still_welcome(from) {
            Err(error) => error,
            Ok(()) => {
                tracing::warn!(%from, why, "a request in the name of Slack was refused");
                drop(self.refuse(from));
                unauthorized(&format!("this request is not taken: {why}"))
            }
        }
    }

    /// The person behind a call.
    pub(super) fn person(&self, headers: &HeaderMap, from: IpAddr) -> Result<Member, ApiError> {
        let presented = token_of(headers)?;
        // Not even a right token is looked at then: otherwise guessing would go on at full speed.
        self.still_welcome(from)?;
        let known = self.known.get();
        if let Some(member) = known.people.who(&presented) {
            return Ok(member.clone());
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
