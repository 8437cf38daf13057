//! What a frontend serves, and what it would take to serve each earlier version again: one pass over its listing.
use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;

use super::{Place, Trouble};
use crate::domain::keepsake::Keepsake;
use crate::domain::names::TargetId;
use crate::domain::plan::frontend::{
    Aim, Comparing, Era, FrontendSurvey, Manifest, Origin, Recorded, Rest, Way,
};
use crate::domain::release::{Fingerprint, Version};

/// Earlier versions to which a way is looked for.
const WAYS: usize = 6;
/// Headers that are asked for at once, for a manifest.
const HEADS: usize = 32;

impl Place {
    pub(super) async fn survey(&self, target: &TargetId) -> Result<FrontendSurvey, Trouble> {
        let eras = self.eras().await?;
        let Some(now) = eras.last() else { return Err(Trouble::Missing) };
        let (versioning, distribution) = tokio::join!(self.versioning(), self.distribution_trouble());
        let mut open = Vec::new();
        for (to, from, aim) in self.aims(&eras, &now.version.fingerprint).await {
            open.push((to, from, Comparing::new(self.is.site.clone(), aim)));
        }
        self.scan(|history| open.iter_mut().for_each(|(.., comparing)| comparing.take(history))).await?;
        let mut ways = Vec::new();
        for (to, from, comparing) in open {
            let compared = comparing.finish();
            let sheet = self.shelf.keep(&compared.sheet, self.clock.now()).await?;
            ways.push(Way::new(to, from, &compared, sheet));
        }
        Ok(FrontendSurvey {
            target: target.clone(),
            site: self.is.site.clone(),
            version: now.version.clone(),
            versioning: versioning?,
            ways,
            distribution,
        })
    }

    async fn versioning(&self) -> Result<String, Trouble> {
        let request = self.clients().await.s3.get_bucket_versioning().bucket(&self.is.site.bucket);
        let answer = request.send().await.map_err(Trouble::of)?;
        Ok(answer.status().map_or("off".to_string(), |status| status.as_str().to_string()))
    }

    /// Newest first: by its manifest where there is one, else by the times at which it was served.
    async fn aims(&self, eras: &[Era], now: &Fingerprint) -> Vec<(Version, Origin, Aim)> {
        let mut aims = Vec::new();
        let mut seen = BTreeSet::from([now.clone()]);
        for era in eras.iter().rev() {
            if aims.len() < WAYS && seen.insert(era.version.fingerprint.clone()) {
                let manifest = self.shelf.manifest(&era.version.fingerprint).await;
                aims.extend(manifest.map(aim_at).or_else(|| {
                    let at = era.settled_at()?;
                    Some((era.version.clone(), Origin::Time { at }, Aim::Time(at)))
                }));
            }
        }
        // What the entry points' own history does not show any more.
        for recorded in self.shelf.recorded().await.into_iter().rev() {
            if aims.len() < WAYS && seen.insert(recorded.clone()) {
                aims.extend(self.shelf.manifest(&recorded).await.map(aim_at));
            }
        }
        aims
    }

    /// Records what is served now.
    pub(super) async fn keep(&self) -> Result<Keepsake, Trouble> {
        let eras = self.eras().await?;
        let Some(now) = eras.last() else { return Err(Trouble::Missing) };
        let at = self.clock.now();
        let mut manifest = Manifest::new(now.version.clone(), at);
        self.scan(|history| manifest.take(&self.is.site, history)).await?;
        for known in self.shelf.recorded().await {
            if let Some(earlier) = self.shelf.manifest(&known).await {
                manifest.learn_from(&earlier);
            }
        }
        // Headers may take longer than anybody waits: what is needed to go back is kept before.
        self.shelf.record(&manifest).await?;
        if self.learn_headers(&mut manifest).await {
            self.shelf.record(&manifest).await?;
        }
        Ok(Keepsake {
            version: now.version.fingerprint.clone(),
            at,
            key: String::new(),
            read: BTreeSet::new(),
            objects: vec![],
            images: Default::default(),
            unread: vec![],
        })
    }

    /// Whether anything was learned.
    async fn learn_headers(&self, manifest: &mut Manifest) -> bool {
        let mut unknown = Vec::new();
        for (key, recorded) in &mut manifest.objects {
            if recorded.content_type.is_none() {
                unknown.push(self.learn(key, recorded));
            }
        }
        let learned: Vec<bool> = futures::stream::iter(unknown).buffer_unordered(HEADS).collect().await;
        learned.contains(&true)
    }

    async fn learn(&self, key: &str, recorded: &mut Recorded) -> bool {
        let request = self.clients().await.s3.head_object().bucket(&self.is.site.bucket).key(key);
        let Ok(head) = request.version_id(&recorded.version).send().await else { return false };
        recorded.content_type = head.content_type().map(String::from);
        recorded.cache_control = head.cache_control().map(String::from);
        recorded.content_type.is_some()
    }

    /// Tells whether anything below the prefix changed between two looks.
    pub(super) async fn digest(&self) -> Result<String, Trouble> {
        let mut rest = Rest::default();
        self.scan(|history| rest.take(&self.is.site, history)).await?;
        Ok(rest.finish())
    }
}

fn aim_at(manifest: Manifest) -> (Version, Origin, Aim) {
    let from = Origin::Manifest { recorded_at: manifest.recorded_at };
    (manifest.version.clone(), from, Aim::Manifest(Arc::new(manifest)))
}
