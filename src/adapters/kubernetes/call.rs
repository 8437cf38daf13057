//! The one way to change an object: a patch under a request id of our own, which the API server's audit log names too.
use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher, RandomState};

use kube::api::{Patch, PatchParams};
use kube::core::{DynamicObject, Request};
use kube::{Api, Client};
use serde::Serialize;

use super::failure;
use crate::domain::outcome::Call;
use crate::domain::owner::OURSELVES;
use crate::ports::calls;

/// The API server takes a caller's id over, and answers with it. So a call whose answer is lost can be looked up as well.
const REQUEST_ID: &str = "audit-id";

/// Sends the patch once, noted with its id.
pub(super) async fn patch<P: Serialize + Debug>(
    client: &Client,
    api: &Api<DynamicObject>,
    name: &str,
    patch: &Patch<P>,
) -> kube::Result<DynamicObject> {
    let params = PatchParams { field_manager: Some(OURSELVES.into()), ..PatchParams::default() };
    let request = Request::new(api.resource_url()).patch(name, &params, patch);
    let mut request = request.map_err(kube::Error::BuildRequest)?;
    let request_id = fresh_id();
    if let Ok(value) = request_id.parse() {
        request.headers_mut().insert(REQUEST_ID, value);
    }
    let (method, path) = (request.method().to_string(), request.uri().path().to_string());
    calls::made(Call { method, path, request_id: request_id.clone(), status: None });
    let answer = client.request(request).await;
    let status = match &answer {
        Ok(_) => Some(200),
        Err(error) => failure::code(error),
    };
    status.into_iter().for_each(|status| calls::answered(&request_id, status));
    answer
}

/// Never the same twice: the standard library seeds its hashers from the system's randomness.
fn fresh_id() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{OURSELVES}-{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_are_as_long_as_an_audit_log_takes() {
        let ids: std::collections::BTreeSet<String> = (0..1000).map(|_| fresh_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() <= 64 && id.starts_with("rollguard-")), "{ids:?}");
    }
}
