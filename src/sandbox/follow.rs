//! One watch: the changes of the store as lines of JSON, until the client, its time or the sandbox ends.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::object::Kind;
use super::refusal::Refusal;
use super::selector::Filter;
use super::store::{Action, Change, Store};

const BOOKMARK_PERIOD: Duration = Duration::from_secs(10);

/// Where a watch begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    /// With every object that exists, as additions.
    Everything,
    After(u64),
}

#[derive(Debug)]
pub(super) struct Follow {
    pub(super) store: Arc<Store>,
    pub(super) filter: Filter,
    pub(super) bookmarks: bool,
    pub(super) lines: mpsc::Sender<String>,
}

/// The client has gone, or has been told to list again.
#[derive(Debug)]
struct Ended;

impl Follow {
    /// Follows the store until one of the ends; `timeout` is the client's own limit.
    pub(super) async fn run(self, start: Start, timeout: Duration, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.lines.closed() => {}
            () = tokio::time::sleep(timeout) => {}
            ended = self.send_changes(start) => match ended {
                Ok(()) | Err(Ended) => {}
            },
        }
    }

    async fn send_changes(&self, start: Start) -> Result<(), Ended> {
        let mut newest = self.store.subscribe();
        let mut position = match start {
            Start::Everything => self.send_existing().await?,
            Start::After(version) => version,
        };
        loop {
            newest.mark_unchanged();
            position = self.send_since(position).await?;
            tokio::select! {
                changed = newest.changed() => changed.map_err(|_| Ended)?,
                () = tokio::time::sleep(BOOKMARK_PERIOD), if self.bookmarks => {
                    self.send("BOOKMARK", &bookmark(self.filter.kind, position)).await?;
                }
            }
        }
    }

    async fn send_existing(&self) -> Result<u64, Ended> {
        let listing = self.store.list(self.filter.kind, self.filter.namespace.as_deref());
        for object in &listing.objects {
            if self.filter.matches(object) {
                self.send("ADDED", object).await?;
            }
        }
        Ok(listing.version)
    }

    async fn send_since(&self, position: u64) -> Result<u64, Ended> {
        let changes = match self.store.changes_since(position) {
            Ok(changes) => changes,
            Err(refusal) => return self.send_error(&refusal).await,
        };
        let mut position = position;
        for change in changes {
            if change.kind == self.filter.kind
                && let Some(kind) = event_type(&self.filter, &change)
            {
                self.send(kind, &change.object).await?;
            }
            position = change.version;
        }
        Ok(position)
    }

    /// A watch that has begun can no longer answer with an HTTP status: the error is its last event.
    async fn send_error(&self, refusal: &Refusal) -> Result<u64, Ended> {
        self.send("ERROR", &refusal.status()).await?;
        Err(Ended)
    }

    async fn send(&self, kind: &str, object: &Value) -> Result<(), Ended> {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        self.lines.send(line).await.map_err(|_| Ended)
    }
}

/// What a change is to this watch: an object may enter or leave the selection without being created or deleted.
fn event_type(filter: &Filter, change: &Change) -> Option<&'static str> {
    let before = change.before.as_ref().is_some_and(|before| filter.matches(before));
    let after = match change.action {
        Action::Added | Action::Modified => filter.matches(&change.object),
        Action::Deleted => false,
    };
    match (before, after) {
        (false, true) => Some("ADDED"),
        (true, true) => Some("MODIFIED"),
        (true, false) => Some("DELETED"),
        (false, false) => None,
    }
}

fn bookmark(kind: Kind, position: u64) -> Value {
    json!({
        "kind": kind.name(),
        "apiVersion": kind.api_version(),
        "metadata": {"resourceVersion": position.to_string(), "creationTimestamp": null},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(before: Option<&str>, after: &str, action: Action) -> Change {
        let labelled = |app: &str| Arc::new(json!({"metadata": {"labels": {"app": app}}}));
        Change { version: 1, kind: Kind::Pod, action, object: labelled(after), before: before.map(labelled) }
    }

    #[test]
    fn a_selection_sees_objects_enter_and_leave() {
        let filter = Filter::parse(Kind::Pod, None, "app=web", "").unwrap();
        for (change, expected) in [
            (change(None, "web", Action::Added), Some("ADDED")),
            (change(None, "db", Action::Added), None),
            (change(Some("db"), "web", Action::Modified), Some("ADDED")),
            (change(Some("web"), "web", Action::Modified), Some("MODIFIED")),
            (change(Some("web"), "db", Action::Modified), Some("DELETED")),
            (change(Some("web"), "web", Action::Deleted), Some("DELETED")),
            (change(Some("db"), "db", Action::Deleted), None),
        ] {
            assert_eq!(event_type(&filter, &change), expected, "{change:?}");
        }
    }
}
