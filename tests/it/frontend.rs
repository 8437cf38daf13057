//! Frontends on the moto server, through a proxy that is as strict as AWS and fails as asked.
mod daemon;
mod failing;
mod histories;
mod killed;
mod restored;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::StalledStreamProtectionConfig;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use rollguard::adapters::aws::AwsAccess;
use rollguard::adapters::frontend::{FrontendOptions, FrontendPlace, Frontends};
use rollguard::domain::names::{ServiceName, TargetId, TargetName};
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::plan::frontend::{FrontendSurvey, Pattern, Site};
use rollguard::domain::plan::{Goal, Plan, Step, draft};
use rollguard::domain::release::Version;
use rollguard::domain::survey::Survey;
use rollguard::engine::clock::SystemClock;
use rollguard::ports::Target;
use tempfile::TempDir;

use crate::support::cdn::Cdn;
use crate::support::moto::Moto;

/// The one region in which moto makes buckets without being told where.
const REGION: &str = "us-east-1";

/// A moto with S3 and CloudFront in front of it, and a bucket `shop` that keeps versions.
struct World {
    _moto: Moto,
    cdn: Cdn,
    s3: Client,
    distribution: String,
    state: TempDir,
}

impl World {
    async fn start() -> Self {
        let moto = Moto::start().await;
        let cdn = Cdn::start(&moto).await;
        let config = access(moto.url()).load().await;
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true);
        // A moto that is busy with six histories at once may pause for longer than the SDK likes.
        let patient = StalledStreamProtectionConfig::disabled();
        let s3 = s3.stalled_stream_protection(patient).build();
        let s3 = Client::from_conf(s3);
        s3.create_bucket().bucket("shop").send().await.unwrap();
        let world = Self {
            distribution: moto.distribution().await,
            _moto: moto,
            cdn,
            s3,
            state: tempfile::tempdir().unwrap(),
        };
        world.version_bucket(BucketVersioningStatus::Enabled).await;
        world
    }

    async fn version_bucket(&self, status: BucketVersioningStatus) {
        let versioning = VersioningConfiguration::builder().status(status).build();
        let request = self.s3.put_bucket_versioning().bucket("shop");
        request.versioning_configuration(versioning).send().await.unwrap();
    }

    fn site(&self, prefix: &str) -> Site {
        Site {
            bucket: "shop".into(),
            prefix: prefix.into(),
            index: "index.html".into(),
            entry_points: vec![],
            ignore: vec![Pattern::parse("uploads/*").unwrap()],
            distribution: Some(self.distribution.clone()),
            paths: vec!["/*".into()],
            mark_deleted: true,
            max_shrink_percent: 100,
        }
    }

    /// As one life of the daemon has it.
    fn frontends(&self, prefix: &str) -> Frontends {
        self.frontends_with(prefix, |_| {})
    }

    fn frontends_with(&self, prefix: &str, change: impl FnOnce(&mut FrontendOptions)) -> Frontends {
        let place = FrontendPlace {
            target: target(),
            site: self.site(prefix),
            url: format!("{}{prefix}", self.cdn.public("shop")).parse().ok(),
            s3: access(&self.cdn.url()),
            cloudfront: access(&self.cdn.url()),
            poll: Duration::from_millis(200),
        };
        let state_dir = self.state.path().join(prefix.replace('/', "_"));
        let mut options = FrontendOptions::new(vec![place], state_dir);
        change(&mut options);
        Frontends::new(options, Arc::new(SystemClock))
    }

    async fn put(&self, key: &str, content: &str) {
        let kind = if key.ends_with(".html") { "text/html" } else { "text/javascript" };
        let body = content.as_bytes().to_vec().into();
        let request = self.s3.put_object().bucket("shop").key(key).content_type(kind).body(body);
        request.send().await.unwrap();
    }

    async fn delete(&self, key: &str) {
        self.s3.delete_object().bucket("shop").key(key).send().await.unwrap();
    }

    /// What is there now, with its content.
    async fn contents(&self, prefix: &str) -> BTreeMap<String, String> {
        let mut contents = BTreeMap::new();
        let mut pages = self.s3.list_objects_v2().bucket("shop").prefix(prefix).into_paginator().send();
        while let Some(page) = pages.next().await {
            for object in page.unwrap().contents() {
                let key = object.key().unwrap();
                let body = self.s3.get_object().bucket("shop").key(key).send().await.unwrap().body;
                let body = body.collect().await.unwrap().into_bytes();
                contents.insert(key.to_owned(), String::from_utf8(body.to_vec()).unwrap());
            }
        }
        contents
    }
}

fn access(endpoint: &str) -> AwsAccess {
    AwsAccess {
        region: REGION.into(),
        profile: None,
        endpoint: Some(endpoint.to_owned()),
        timeout: Duration::from_secs(20),
    }
}

fn target() -> TargetId {
    let (service, target) = (ServiceName::parse("shop").unwrap(), TargetName::parse("web").unwrap());
    TargetId { service, target }
}

async fn survey(frontends: &Frontends) -> FrontendSurvey {
    match frontends.survey(&target()).await.unwrap() {
        Survey::Frontend(found) => *found,
        other => panic!("{other:?}"),
    }
}

/// Records what is there now, and says which version it is.
async fn known_good(frontends: &Frontends) -> Version {
    frontends.keepsake(&target()).await.unwrap();
    survey(frontends).await.version
}

/// The plan back to that version.
async fn plan_to(frontends: &Frontends, good: &Version, run: &str) -> Result<Plan, String> {
    let survey = Survey::Frontend(Box::new(survey(frontends).await));
    draft(&survey, &Goal::Version(good.clone()), run, 60).map_err(|refusal| refusal.to_string())
}

/// As the driver of a run does: observe, apply, observe.
async fn carry_out(frontends: &Frontends, steps: &[Step]) -> Result<(), String> {
    for step in steps {
        let (mut applied, mut answer) = (0, String::new());
        loop {
            match frontends.observe(step).await {
                Finding::Satisfied { .. } => break,
                Finding::Conflict { why } => return Err(why),
                Finding::NotYet { .. } if step.action.mutates() => {
                    applied += 1;
                    if applied > 5 {
                        return Err(format!("{}: no effect: {answer}", step.title));
                    }
                    if let Outcome::Refused { why } | Outcome::Unknown { why } = frontends.apply(step).await {
                        answer = why;
                    }
                }
                Finding::NotYet { .. } | Finding::Unseen { .. } => {
                    tokio::time::sleep(Duration::from_millis(20)).await
                }
            }
        }
    }
    Ok(())
}
