//! Asks ECR whether an image is still there.
//!
//! `DescribeImages`, and not `BatchGetImage`: that would count as a pull and keep a lifecycle policy from deleting
//! what nobody uses.
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_ecr::Client;
use aws_sdk_ecr::operation::describe_images::DescribeImagesError;
use aws_sdk_ecr::types::ImageIdentifier;

use super::name::{EcrImage, Reference};
use crate::adapters::aws::{AwsAccess, describe};
use crate::domain::surroundings::Presence;
use crate::ports::ImageRegistry;
use crate::telemetry::Stopwatch;

/// How ECR is reached; the region and the account are in each image's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcrAccess {
    pub profile: Option<String>,
    pub endpoint: Option<String>,
    pub timeout: Duration,
}

/// See [`EcrAccess`].
pub struct EcrRegistry {
    access: EcrAccess,
    clients: tokio::sync::Mutex<BTreeMap<String, Client>>,
    /// Images that were there, and when that was.
    there: Mutex<BTreeMap<String, Stopwatch>>,
}

/// An image that was there is not asked for again for so long; one that is gone is, for somebody may push it again.
const FRESH: Duration = Duration::from_secs(3600);
/// Images remembered.
const REMEMBERED_MAX: usize = 10_000;

impl EcrRegistry {
    /// Asks nobody yet: credentials are looked up with the first request.
    pub fn new(access: EcrAccess) -> Self {
        Self { access, clients: tokio::sync::Mutex::default(), there: Mutex::default() }
    }

    async fn client(&self, region: &str) -> Client {
        let mut clients = self.clients.lock().await;
        if let Some(client) = clients.get(region) {
            return client.clone();
        }
        let EcrAccess { profile, endpoint, timeout } = self.access.clone();
        let access = AwsAccess { region: region.to_string(), profile, endpoint, timeout };
        let client = Client::new(&access.load().await);
        clients.insert(region.to_string(), client.clone());
        client
    }

    async fn ask(&self, image: EcrImage) -> Presence {
        let identifier = match image.reference {
            Reference::Tag(tag) => ImageIdentifier::builder().image_tag(tag),
            Reference::Digest(digest) => ImageIdentifier::builder().image_digest(digest),
        };
        let client = self.client(&image.region).await;
        let request = client.describe_images().registry_id(image.account).repository_name(image.repository);
        match request.image_ids(identifier.build()).send().await {
            Ok(answer) if answer.image_details().is_empty() => Presence::Gone,
            Ok(_) => Presence::There,
            Err(error) => match error.as_service_error() {
                Some(
                    DescribeImagesError::ImageNotFoundException(_)
                    | DescribeImagesError::RepositoryNotFoundException(_),
                ) => Presence::Gone,
                Some(_) | None => Presence::Unknown { why: format!("ECR: {}", describe(&error)) },
            },
        }
    }

    fn was_there(&self, image: &str) -> bool {
        let there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        there.get(image).is_some_and(|seen| seen.elapsed() < FRESH)
    }

    fn remember(&self, image: &str) {
        let mut there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        there.retain(|_, seen| seen.elapsed() < FRESH);
        if there.len() < REMEMBERED_MAX {
            there.insert(image.to_string(), Stopwatch::start());
        }
    }
}

#[async_trait]
impl ImageRegistry for EcrRegistry {
    async fn presence(&self, image: &str) -> Presence {
        let Some(named) = EcrImage::parse(image) else {
            return Presence::Unknown { why: "it is not in ECR, and no other registry is asked".into() };
        };
        if self.was_there(image) {
            return Presence::There;
        }
        let presence = self.ask(named).await;
        if presence == Presence::There {
            self.remember(image);
        }
        presence
    }
}
