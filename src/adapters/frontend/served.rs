//! What the public gets: the index page and all that it refers to must be what the bucket holds.
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use reqwest::Client;
use reqwest::header::{CONTENT_TYPE, ETAG, HeaderMap};
use url::Url;

use super::clients::decoded;
use super::listing::etag;
use super::page::references;
use super::{Frontends, Place, Trouble};
use crate::adapters::outbound::{describe, read_body};
use crate::domain::verification::{CheckKind, CheckResult, CheckSpec};
use crate::ports::{CheckContext, Checks};

const TIMEOUT: Duration = Duration::from_secs(10);
const BYTES_MAX: usize = 64 << 20;
/// Of one page.
const LINKS_MAX: usize = 300;
const AT_ONCE: usize = 8;

/// Checks frontends, and leaves everything else to others.
pub struct FrontendChecks {
    frontends: Frontends,
    client: Client,
    others: Arc<dyn Checks>,
}

impl FrontendChecks {
    /// `client` must not follow redirects.
    pub fn new(frontends: Frontends, client: Client, others: Arc<dyn Checks>) -> Self {
        Self { frontends, client, others }
    }
}

#[async_trait]
impl Checks for FrontendChecks {
    async fn check(&self, check: &CheckSpec, about: &CheckContext) -> CheckResult {
        if check.kind != CheckKind::FrontendServed {
            return self.others.check(check, about).await;
        }
        let places = self.frontends.places.values();
        let public = places.filter(|place| place.is.target.service == about.target.service);
        let mut told = Vec::new();
        for (place, url) in public.filter_map(|place| Some((place, place.is.url.as_ref()?))) {
            match place.served(&self.client, url).await {
                Ok(files) => told.push(format!("{url} and {files} files that it refers to are as restored")),
                Err(why) => return CheckResult::failed(why),
            }
        }
        match told.is_empty() {
            true => CheckResult::no_data("no frontend of this service has a url"),
            false => CheckResult::passed(told.join("; ")),
        }
    }
}

impl Place {
    /// How many files the page refers to.
    async fn served(&self, client: &Client, url: &Url) -> Result<usize, String> {
        let site = &self.is.site;
        let body = self.compare(client, url, &site.key(&site.index)).await?;
        let found = references(&String::from_utf8_lossy(&body));
        if found.links.len() > LINKS_MAX {
            return Err(format!("{url} refers to more than {LINKS_MAX} files"));
        }
        let base = found.base.as_ref().and_then(|base| url.join(base).ok()).unwrap_or_else(|| url.clone());
        let own = |link: &String| {
            let mut link = base.join(link).ok()?;
            link.set_fragment(None);
            let key = self.key_of(url, &link)?;
            Some((link, key))
        };
        let files: Vec<(Url, String)> = found.links.iter().filter_map(own).collect();
        let mut checked = Vec::with_capacity(files.len());
        for (link, key) in &files {
            checked.push(self.compare(client, link, key));
        }
        let checked: Vec<Result<Vec<u8>, String>> =
            futures::stream::iter(checked).buffer_unordered(AT_ONCE).collect().await;
        checked.into_iter().try_for_each(|checked| checked.map(drop))?;
        Ok(files.len())
    }

    /// `None` for what lies elsewhere.
    fn key_of(&self, url: &Url, link: &Url) -> Option<String> {
        if link.origin() != url.origin() {
            return None;
        }
        // In a path a plus is a plus.
        let name = decoded(&link.path().strip_prefix(url.path())?.replace('+', "%2B"));
        let index = if name.is_empty() || name.ends_with('/') { self.is.site.index.as_str() } else { "" };
        Some(self.is.site.key(&format!("{name}{index}")))
    }

    /// What is served at the address, if it is the object of this key.
    async fn compare(&self, client: &Client, url: &Url, key: &str) -> Result<Vec<u8>, String> {
        let wanted = match self.head(key, None).await {
            Ok(head) => head,
            Err(Trouble::Missing) => return Err(format!("{url}: there is no {key} in the bucket")),
            Err(trouble) => return Err(format!("{key}: {}", trouble.reason())),
        };
        let answer = client.get(url.clone()).timeout(TIMEOUT).send().await;
        let answer = answer.map_err(|error| format!("{url}: {}", describe(&error)))?;
        if answer.status().as_u16() != 200 {
            return Err(format!("{url}: HTTP {}", answer.status().as_u16()));
        }
        let served = etag(text(answer.headers(), ETAG.as_str()));
        let restored = etag(wanted.e_tag());
        if served != restored {
            let why = "served is another file than the one in the bucket";
            return Err(format!("{url}: {why} (ETag {served:?}, not {restored:?})"));
        }
        let kind = text(answer.headers(), CONTENT_TYPE.as_str()).map(essence);
        if kind != wanted.content_type().map(essence) {
            let (kind, wanted) = (kind.unwrap_or("none"), wanted.content_type().unwrap_or("none"));
            return Err(format!("{url}: content type {kind}, not {wanted}"));
        }
        read_body(answer, BYTES_MAX).await.map_err(|error| format!("{url}: {error}"))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Without its parameters.
fn essence(kind: &str) -> &str {
    kind.split(';').next().unwrap_or(kind).trim()
}
