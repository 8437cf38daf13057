//! The rules of other tools, as their sources behave: each a small pure state machine that is told what its query returned.
pub(crate) mod alert;
pub(crate) mod argo;
pub(crate) mod flagger;
pub(crate) mod kayenta;
