//! A mailbox for what the daemon tells people: it stands in for a team's chat.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::Json;
use axum::routing::post;
use serde_json::Value;

/// Messages kept; the oldest go first.
const KEPT: usize = 200;

#[derive(Clone, Debug, Default)]
pub(super) struct Mailbox(Arc<Mutex<VecDeque<Value>>>);

impl Mailbox {
    pub(super) fn router(&self) -> Router {
        let mailbox = self.clone();
        Router::new().route("/messages", post(move |Json(message)| async move { mailbox.keep(message) }))
    }

    fn keep(&self, message: Value) {
        let mut messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        messages.push_back(message);
        if messages.len() > KEPT {
            messages.pop_front();
        }
    }

    /// Everything that came since the last call.
    pub(super) fn take(&self) -> Vec<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}
