//! Sends the steps of a journey one after the other, as a user's browser or app would, until one is not answered as it should be.
use std::time::Duration;

use reqwest::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Url};
use serde_json::Value;

use super::answer::{self, Answer};
use super::cookies::Cookies;
use crate::adapters::mask::Mask;
use crate::config::Secrets;
use crate::domain::evidence::count_of;
use crate::domain::journey::{Body, Capture, Journey, Step};
use crate::domain::template::{Unfilled, Values, fill_all, text_of};

/// Longer than any token; a captured page is a mistake.
const CAPTURED_MAX_BYTES: usize = 16 * 1024;

/// Whether all steps are answered as they should be. Nothing is sent twice.
pub(super) async fn travel(client: &Client, journey: &Journey, secrets: &Secrets) -> Result<String, String> {
    let timeout = Duration::try_from_secs_f64(journey.timeout_secs).map_err(|e| e.to_string())?;
    let mut traveller = Traveller::new(client, journey, timeout, secrets);
    match tokio::time::timeout(timeout, traveller.go()).await {
        Ok(Ok(())) => Ok(format!("{} answered as expected", count_of(journey.steps.len(), "step"))),
        Ok(Err(why)) => Err(traveller.told(&why)),
        Err(_) => {
            let why = format!("no answer within the {} s that all steps have together", journey.timeout_secs);
            Err(traveller.told(&why))
        }
    }
}

/// One run of a journey.
struct Traveller<'a> {
    client: &'a Client,
    steps: &'a [Step],
    timeout: Duration,
    /// The step that is being made.
    at: usize,
    values: Values,
    mask: Mask,
    cookies: Cookies,
}

impl<'a> Traveller<'a> {
    fn new(client: &'a Client, journey: &'a Journey, timeout: Duration, secrets: &Secrets) -> Self {
        let (mut values, mut mask) = (Values::new(), Mask::default());
        for (name, secret) in secrets.exposed() {
            values.insert(name.to_string(), Value::String(secret.to_string()));
            mask.hide(secret);
        }
        Self { client, steps: &journey.steps, timeout, at: 0, values, mask, cookies: Cookies::default() }
    }

    /// What happened, with the step at which it did.
    fn told(&self, why: &str) -> String {
        let Some(step) = self.steps.get(self.at) else { return why.to_string() };
        format!("step {} of {}, {} {}: {why}", self.at + 1, self.steps.len(), step.method, step.url)
    }

    async fn go(&mut self) -> Result<(), String> {
        for (at, step) in self.steps.iter().enumerate() {
            self.at = at;
            self.make(step).await?;
        }
        Ok(())
    }

    async fn make(&mut self, step: &Step) -> Result<(), String> {
        let unfilled = |e: Unfilled| e.to_string();
        let url = step.url.fill(&self.values).map_err(unfilled)?;
        let wanted = step.wanted.fill(&self.values).map_err(unfilled)?;
        let (response, watch) = answer::send(self.request(step, &url)?).await?;
        let answer = Answer::read(response, watch).await?;
        self.cookies.take(&url, &answer.headers).iter().for_each(|value| self.mask.hide(value));
        let captured: Vec<_> = step.capture.iter().map(|(name, of)| (name, capture(&answer, of))).collect();
        // Before anything is told about this answer: it may be told about what was captured.
        captured
            .iter()
            .filter_map(|(_, value)| value.as_ref().ok())
            .for_each(|v| self.mask.hide(&text_of(v)));
        answer.meets(&wanted, &self.mask)?;
        for (name, value) in captured {
            let value = value.map_err(|why| format!("there is nothing to capture as {name}: {why}"))?;
            self.values.insert(name.clone(), value);
        }
        Ok(())
    }

    fn request(&self, step: &Step, url: &Url) -> Result<RequestBuilder, String> {
        let method = Method::from_bytes(step.method.as_str().as_bytes()).map_err(|e| e.to_string())?;
        // The time of the whole journey decides; the client's own limit must not be shorter.
        let mut request = self.client.request(method, url.clone()).timeout(self.timeout * 2);
        let filled = |e: Unfilled| e.to_string();
        request = match &step.body {
            None => request,
            Some(Body::Json(json)) => request.json(&fill_all(json, &self.values).map_err(filled)?),
            Some(Body::Form(form)) => {
                let pairs = form.iter().map(|(name, value)| Ok((name, value.fill(&self.values)?)));
                request.form(&pairs.collect::<Result<Vec<_>, _>>().map_err(filled)?)
            }
            Some(Body::Text(text)) => request.body(text.fill(&self.values).map_err(filled)?),
        };
        let mut headers = HeaderMap::new();
        if let Some(cookies) = self.cookies.header(url) {
            headers.insert(COOKIE, sensitive("cookie", &cookies)?);
        }
        for (name, value) in &step.headers {
            let value = sensitive(name, &value.fill(&self.values).map_err(filled)?)?;
            headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|e| e.to_string())?, value);
        }
        Ok(request.headers(headers))
    }
}

fn sensitive(name: &str, value: &str) -> Result<HeaderValue, String> {
    let unfit = |_| format!("the header {name} cannot be sent: its value holds line ends or the like");
    let mut value = HeaderValue::from_str(value).map_err(unfit)?;
    value.set_sensitive(true);
    Ok(value)
}

fn capture(answer: &Answer, of: &Capture) -> Result<Value, String> {
    let value = match of {
        Capture::Json(pointer) => answer.json(pointer)?,
        Capture::Header(name) => Value::String(answer.header(name)?),
        Capture::Regex(pattern) => {
            let body = String::from_utf8_lossy(&answer.body);
            let found = pattern.regex().captures(&body);
            let found = found.and_then(|groups| groups.get(1).or_else(|| groups.get(0)));
            let found = found.ok_or_else(|| format!("the answer does not match {}", pattern.as_str()))?;
            Value::String(found.as_str().to_string())
        }
    };
    match &value {
        Value::String(text) if text.is_empty() => Err("it is empty".into()),
        Value::String(text) if text.len() > CAPTURED_MAX_BYTES => {
            Err(format!("it is longer than {CAPTURED_MAX_BYTES} bytes"))
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) => Ok(value),
        Value::Null | Value::Array(_) | Value::Object(_) => Err("it is no single value".into()),
    }
}
