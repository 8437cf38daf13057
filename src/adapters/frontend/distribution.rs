//! Invalidations: found by their reference, made once, and awaited.
use std::time::Duration;

use aws_sdk_cloudfront::error::ProvideErrorMetadata;
use aws_sdk_cloudfront::operation::RequestId;
use aws_sdk_cloudfront::types::{Invalidation, InvalidationBatch, Paths};

use super::{Place, Trouble};
use crate::adapters::aws::describe;
use crate::domain::outcome::{Call, Finding, Outcome};
use crate::domain::plan::frontend::{AwaitInvalidation, Invalidate};
use crate::ports::calls;

/// Lists name no references, so the newest invalidations are looked at one by one.
const LOOKED_AT: i32 = 20;
/// While as many are under way as CloudFront allows.
const BUSY_FOR: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10)];

impl Place {
    /// Why the distribution could not be told anything.
    pub(super) async fn distribution_trouble(&self) -> Option<String> {
        let id = self.is.site.distribution.as_ref()?;
        let request = self.clients().await.cdn.list_invalidations().distribution_id(id).max_items(1);
        request.send().await.err().map(|error| describe(&error))
    }

    async fn invalidation(
        &self,
        distribution: &str,
        reference: &str,
    ) -> Result<Option<Invalidation>, Trouble> {
        if let Some(id) = self.known_invalidation(reference).await {
            return self.get_invalidation(distribution, &id).await;
        }
        let cdn = &self.clients().await.cdn;
        // Newest first.
        let request = cdn.list_invalidations().distribution_id(distribution).max_items(LOOKED_AT);
        let list = request.send().await.map_err(Trouble::of)?;
        let newest = list.invalidation_list().map(|list| list.items()).unwrap_or_default();
        for summary in newest {
            let found = self.get_invalidation(distribution, summary.id()).await?;
            let is_ours = |found: &Invalidation| {
                found.invalidation_batch().is_some_and(|batch| batch.caller_reference() == reference)
            };
            if let Some(found) = found.filter(is_ours) {
                self.know_invalidation(reference, found.id()).await;
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn get_invalidation(&self, distribution: &str, id: &str) -> Result<Option<Invalidation>, Trouble> {
        let request = self.clients().await.cdn.get_invalidation().distribution_id(distribution).id(id);
        Ok(request.send().await.map_err(Trouble::of)?.invalidation)
    }

    async fn known_invalidation(&self, reference: &str) -> Option<String> {
        let known = self.invalidated.lock().await;
        known.as_ref().filter(|(known, _)| known == reference).map(|(_, id)| id.clone())
    }

    async fn know_invalidation(&self, reference: &str, id: &str) {
        *self.invalidated.lock().await = Some((reference.to_string(), id.to_string()));
    }

    pub(super) async fn observe_invalidate(&self, step: &Invalidate) -> Result<Finding, Trouble> {
        Ok(match self.invalidation(&step.distribution, &step.reference).await? {
            None => Finding::not_yet("CloudFront was not told yet"),
            Some(found) => Finding::Satisfied { detail: format!("invalidation {} is made", found.id()) },
        })
    }

    pub(super) async fn observe_await(&self, step: &AwaitInvalidation) -> Result<Finding, Trouble> {
        Ok(match self.invalidation(&step.distribution, &step.reference).await? {
            None => Finding::Conflict {
                why: format!("distribution {} knows no invalidation {}", step.distribution, step.reference),
            },
            Some(found) if found.status().eq_ignore_ascii_case("Completed") => {
                Finding::Satisfied { detail: format!("invalidation {} is completed", found.id()) }
            }
            Some(found) => Finding::not_yet(format!("invalidation {} is {}", found.id(), found.status())),
        })
    }

    pub(super) async fn invalidate(&self, step: &Invalidate) -> Outcome {
        for pause in BUSY_FOR {
            match self.create(step).await {
                Err((code, _)) if code.as_deref() == Some("TooManyInvalidationsInProgress") => {
                    tokio::time::sleep(pause).await;
                }
                Ok(detail) => return Outcome::Done { detail },
                Err((Some(_), why)) => return Outcome::Refused { why },
                Err((None, why)) => return Outcome::Unknown { why },
            }
        }
        Outcome::Unknown { why: "as many invalidations are under way as CloudFront allows".into() }
    }

    /// With CloudFront's own code, if it answered.
    async fn create(&self, step: &Invalidate) -> Result<String, (Option<String>, String)> {
        let built = |error: aws_sdk_cloudfront::error::BuildError| (None, error.to_string());
        let quantity = i32::try_from(step.paths.len()).unwrap_or(i32::MAX);
        let paths = Paths::builder().quantity(quantity).set_items(Some(step.paths.clone()));
        let batch = InvalidationBatch::builder().caller_reference(&step.reference);
        let batch = batch.paths(paths.build().map_err(built)?).build().map_err(built)?;
        let request = self.clients().await.changing_cdn.create_invalidation();
        let request = request.distribution_id(&step.distribution).invalidation_batch(batch);
        let answer = request.send().await;
        let (id, status) = match &answer {
            Ok(answer) => (answer.request_id(), Some(201)),
            Err(error) => (error.request_id(), error.raw_response().map(|raw| raw.status().as_u16())),
        };
        let path = format!("/2020-05-31/distribution/{}/invalidation", step.distribution);
        let request_id = id.unwrap_or("none").to_string();
        calls::made(Call { method: "POST".into(), path, request_id, status });
        match answer {
            Ok(answer) => {
                let id = answer.invalidation().map_or("?", Invalidation::id).to_string();
                if answer.invalidation().is_some() {
                    self.know_invalidation(&step.reference, &id).await;
                }
                Ok(format!("invalidation {id} of {} is made", step.paths.join(" ")))
            }
            Err(error) => Err((error.code().map(String::from), describe(&error))),
        }
    }
}
