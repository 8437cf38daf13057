//! How far our clock and the API server's are apart, from the `Date` of an answer.
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::api::ListParams;
use kube::client::Body;
use kube::core::Request;

use crate::ports::Clock;

/// How much later it is here than there, to a second or two; `None` if the server does not say.
pub(super) async fn ahead_of(client: &Client, clock: &dyn Clock) -> Option<SignedDuration> {
    // Everybody may ask for the version.
    let request = Request::new("/version").list(&ListParams::default()).ok()?;
    let answer = client.send(request.map(Body::from)).await.ok()?;
    let date = answer.headers().get("date")?.to_str().ok()?;
    Some(clock.now().duration_since(read(date)?))
}

fn read(date: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(date).ok().map(|date| date.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_servers_write_them() {
        let read = read("Sun, 22 Nov 2026 10:00:05 GMT").unwrap();
        assert_eq!(read.to_string(), "2026-11-22T10:00:05Z");
    }
}
