//! Posts a message, and sorts the answers: taken, to be tried again, refused for good.
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode};

use crate::adapters::outbound::{describe, read_body};
use crate::ports::NotifyError;

const TIMEOUT: Duration = Duration::from_secs(10);
/// A receiver that asks for a longer pause is asked again sooner: pages must not wait for hours.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);
const BODY_MAX_BYTES: usize = 4096;

/// One attempt to deliver to `channel`.
pub(super) struct Post<'a> {
    pub(super) channel: &'a str,
    pub(super) request: RequestBuilder,
    pub(super) now: Timestamp,
}

impl Post<'_> {
    /// Sends it. Answers for which `refused` is true mean that trying again is of no use.
    pub(super) async fn send(self, refused: fn(StatusCode) -> bool) -> Result<Response, NotifyError> {
        let sent = self.request.timeout(TIMEOUT).send().await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Err(retry(self.channel, describe(&error), None)),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let after = retry_after(response.headers(), self.now);
        let mut why = format!("HTTP {}", status.as_u16());
        if let Some(word) = reason(response).await {
            why = format!("{why} ({word})");
        }
        if status.is_redirection() {
            why.push_str("; redirects are not followed, so configure the final URL");
        } else if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
            why.push_str("; check its URL and credentials in the configuration");
        }
        if refused(status) {
            return Err(NotifyError::Refused { channel: self.channel.to_string(), why });
        }
        Err(retry(self.channel, why, after))
    }
}

/// What a receiver says that no repetition changes.
pub(super) fn final_answer(status: StatusCode) -> bool {
    status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error()
}

pub(super) fn retry(channel: &str, why: String, after: Option<Duration>) -> NotifyError {
    NotifyError::Retry { channel: channel.to_string(), why, after }
}

/// Seconds or a date, as RFC 9110 has it.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match text.parse::<u64>() {
        Ok(secs) => Duration::from_secs(secs),
        Err(_) => {
            let until = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            Duration::try_from(until.duration_since(now)).unwrap_or_default()
        }
    };
    Some(pause.min(PAUSE_MAX))
}

/// The body, if it is one word of an API such as Slack's `no_service`; anything else could repeat our secrets.
pub(super) async fn reason(response: Response) -> Option<String> {
    let body = read_body(response, BODY_MAX_BYTES).await.ok()?;
    let text = String::from_utf8(body).ok()?;
    let word = text.trim();
    let plain = !word.is_empty() && word.len() <= 40;
    (plain && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')).then(|| word.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn pauses_are_seconds_or_dates_and_never_long() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let after = |value: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            retry_after(&headers, now).map(|d| d.as_secs())
        };
        assert_eq!(after("30"), Some(30));
        assert_eq!(after("Sun, 22 Nov 2026 10:01:00 GMT"), Some(60));
        assert_eq!(after("Sun, 22 Nov 2026 09:00:00 GMT"), Some(0));
        assert_eq!(after("86400"), Some(900));
        assert_eq!(after("soon"), None);
    }
}
