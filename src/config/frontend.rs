//! Frontends in S3, with CloudFront in front of them.
use std::time::Duration;

use url::Url;

use super::TargetKindConfig;
use super::cloudwatch::Region;
use super::keys::{optional, required, share, span};
use super::raw::Fields;
use super::shape::{Field, Leaf, Shape};
use super::value::Share;
use crate::domain::plan::frontend::{Pattern, Site};

/// Where a frontend is, and how AWS is asked about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FrontendConfig {
    pub site: Site,
    /// Where the public finds what is below the prefix; it ends in a slash.
    pub url: Option<Url>,
    pub region: String,
    /// Of `~/.aws/config`; `None` for the credentials that the SDK finds by itself.
    pub profile: Option<String>,
    /// Of S3, instead of the region's own.
    pub endpoint: Option<Url>,
    pub cloudfront_endpoint: Option<Url>,
    /// Of one request.
    pub timeout: Duration,
    /// How often the entry points are looked at.
    pub poll: Duration,
}

const TEXT: Shape = Shape::Leaf(Leaf::Text);
const URL: Shape = Shape::Leaf(Leaf::Url);

pub(super) const FRONTEND: &[Field] = &[
    required("bucket", TEXT, "The bucket; its versioning must be on."),
    optional("prefix", TEXT, "Below which it lies in the bucket; without it the whole bucket."),
    required("region", TEXT, "The bucket's region."),
    optional("url", URL, "Where the public finds it; what is served there is checked after a rollback."),
    optional("distribution", TEXT, "The CloudFront distribution that is told to forget what it has."),
    optional("invalidate", Shape::Texts, "What it forgets; /* unless said otherwise."),
    optional("index", TEXT, "The page that everything begins with, index.html unless said otherwise."),
    optional("entry_points", Shape::Texts, "What else tells one release from another, such as [sw.js]."),
    optional("ignore", Shape::Texts, "Objects that are no part of a release, such as [uploads/*]."),
    optional(
        "mark_deleted",
        Shape::Leaf(Leaf::Bool),
        "Whether what only the bad release has gets a delete marker.",
    ),
    optional(
        "max_shrink",
        share(1.0),
        "A rollback that leaves fewer objects by more than this share is refused.",
    ),
    optional("poll", span(1_000, 3600), "How often the entry points are looked at."),
    optional("profile", TEXT, "Profile of ~/.aws/config; without it the usual chain of credentials."),
    optional("endpoint", URL, "Where S3 is reached, such as a VPC endpoint."),
    optional("cloudfront_endpoint", URL, "Where CloudFront is reached."),
    optional("timeout", span(100, 30), "Longest wait for an answer."),
];

pub(super) fn frontend(fields: &Fields<'_>) -> Option<TargetKindConfig> {
    if !cfg!(feature = "aws") {
        fields.notes.error(
            fields.begin(),
            "frontend: this rollguard was built without AWS: build it with its default features, or leave the target out",
        );
        return None;
    }
    let site = site(fields);
    let url = fields.read::<Url>("url").map(below);
    let read = FrontendConfig {
        url,
        profile: fields.read("profile"),
        endpoint: fields.read("endpoint"),
        cloudfront_endpoint: fields.read("cloudfront_endpoint"),
        timeout: fields.read("timeout").unwrap_or(Duration::from_secs(5)),
        poll: fields.read("poll").unwrap_or(Duration::from_secs(15)),
        region: fields.read::<Region>("region")?.0,
        site: site?,
    };
    Some(TargetKindConfig::Frontend(Box::new(read)))
}

fn site(fields: &Fields<'_>) -> Option<Site> {
    let prefix = fields.read::<String>("prefix").unwrap_or_default();
    let prefix = prefix.trim_matches('/');
    let percent = fields.read::<Share>("max_shrink").map_or(50.0, |share| (share.0 * 100.0).round());
    let paths = fields.texts("invalidate");
    if let Some(wrong) = paths.iter().find(|path| !is_path(path)) {
        let message =
            format!("invalidate: {wrong:?} is no path: it begins with / and has a * only at its end");
        fields.notes.error(fields.at("invalidate"), message);
    }
    Some(Site {
        bucket: fields.read("bucket")?,
        prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
        index: fields.read("index").unwrap_or_else(|| "index.html".to_string()),
        entry_points: fields.texts("entry_points"),
        ignore: patterns(fields),
        distribution: fields.read("distribution"),
        paths: if paths.is_empty() { vec!["/*".to_string()] } else { paths },
        mark_deleted: fields.read("mark_deleted").unwrap_or(true),
        // A share is at most 100 %.
        max_shrink_percent: percent as u32,
    })
}

fn patterns(fields: &Fields<'_>) -> Vec<Pattern> {
    let read = |text: String| {
        let pattern = Pattern::parse(&text);
        if pattern.is_none() {
            fields.notes.error(fields.at("ignore"), "ignore: this would match every object");
        }
        pattern
    };
    fields.texts("ignore").into_iter().filter_map(read).collect()
}

/// As CloudFront takes it.
fn is_path(path: &str) -> bool {
    let stem = path.strip_suffix('*').unwrap_or(path);
    path.starts_with('/') && !stem.contains('*')
}

/// Names are appended to it.
fn below(mut url: Url) -> Url {
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    url
}
