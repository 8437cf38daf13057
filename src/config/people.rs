//! People: how they prove who they are, and what they may do.
use std::collections::BTreeSet;
use std::fmt;

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::raw::Fields;
use super::secrets::{self, Outside};
use super::{Person, SlackButtons, check};
use crate::domain::names::PersonName;
use crate::domain::role::Role;

/// A token as it is kept: by its SHA-256. Debug does not show it, since a weak token could be found by trying.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.trim()).into())
    }

    pub fn bytes(self) -> [u8; 32] {
        self.0
    }

    fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let digits = text.trim().as_bytes();
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

pub(super) fn people(api: &Fields<'_>, outside: &Outside<'_>) -> Vec<Person> {
    let all = api.maps("people");
    check::distinct(&all, "name", "person");
    check::distinct(&all, "slack", "person for Slack");
    let people: Vec<_> = all.iter().filter_map(|f| Some((f.begin(), person(f, outside)?))).collect();
    check::distinct_tokens(&people, api.notes);
    people.into_iter().map(|(_, person)| person).collect()
}

fn person(fields: &Fields<'_>, outside: &Outside<'_>) -> Option<Person> {
    let slack = fields.read::<String>("slack");
    let has_token = ["token", "token_file", "token_env", "token_sha256"].iter().any(|key| fields.has(key));
    if !has_token && slack.is_none() {
        let message =
            "token_file or token_env or token_sha256 or slack is missing: nobody could be this person";
        fields.notes.error(fields.begin(), message);
    }
    let roles = match fields.has("roles") {
        true => fields.some::<Role>("roles").into_iter().map(|(_, role)| role).collect(),
        false => BTreeSet::from(Role::USUAL),
    };
    let (token, groups) = (token(fields, outside), fields.texts("groups"));
    Some(Person { name: fields.read::<PersonName>("name")?, token, roles, groups, slack })
}

fn token(fields: &Fields<'_>, outside: &Outside<'_>) -> Option<TokenDigest> {
    let plain = secrets::guarding(fields, "token", outside);
    let plain = plain.map(|token| TokenDigest::of(token.expose_secret()));
    let Some(hex) = fields.has("token_sha256").then(|| fields.read::<String>("token_sha256")).flatten()
    else {
        return plain;
    };
    let at = fields.at("token_sha256");
    if plain.is_some() {
        fields.notes.error(at, "token_sha256 and the token itself exclude each other: keep one");
    }
    let digest = TokenDigest::from_hex(&hex);
    if digest.is_none() {
        let message = "token_sha256: this is no SHA-256: write 64 hexadecimal digits, such as from \
                       `printf %s \"$TOKEN\" | sha256sum`";
        fields.notes.error(at, message);
    }
    digest.or(plain)
}

/// Buttons in Slack; nobody can press them without a person who is known there.
pub(super) fn slack(api: &Fields<'_>, people: &[Person], outside: &Outside<'_>) -> Option<SlackButtons> {
    let fields = api.map("slack")?;
    let secret = secrets::guarding(&fields, "signing_secret", outside);
    if people.iter().all(|person| person.slack.is_none()) {
        let message = "slack: nobody could press a button: add `slack: USER_ID` to people";
        fields.notes.warning(api.key_at("slack"), message);
    }
    Some(SlackButtons { team: fields.read::<String>("team")?, signing_secret: secret? })
}

impl Person {
    pub fn may(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}
