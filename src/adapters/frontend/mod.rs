//! Frontends in S3 behind CloudFront: surveyed by listing, restored by copying versions, noticed by their entry points.
mod acl;
mod clients;
mod copying;
mod distribution;
mod entries;
mod feed;
mod listing;
mod page;
mod restoring;
mod sameness;
mod served;
mod shelf;
mod surveying;
mod target;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};
use url::Url;

use super::aws::AwsAccess;
use crate::domain::names::TargetId;
use crate::domain::plan::frontend::Site;
use crate::ports::{Clock, SurveyError};
use clients::Clients;
use entries::Contents;
use restoring::Work;
pub use served::FrontendChecks;
use shelf::Shelf;

/// A target, and how it is reached.
#[derive(Clone, Debug)]
pub struct FrontendPlace {
    pub target: TargetId,
    pub site: Site,
    /// Where the public finds it; ends in a slash.
    pub url: Option<Url>,
    pub s3: AwsAccess,
    pub cloudfront: AwsAccess,
    pub poll: Duration,
}

#[derive(Clone, Debug)]
pub struct FrontendOptions {
    pub places: Vec<FrontendPlace>,
    /// Where manifests and sheets are kept.
    pub state_dir: PathBuf,
    /// Objects that are copied at once.
    pub at_once: usize,
    /// S3 copies larger objects in parts only.
    pub multipart_over: u64,
    /// The size of such a part.
    pub part: u64,
}

impl FrontendOptions {
    pub fn new(places: Vec<FrontendPlace>, state_dir: PathBuf) -> Self {
        const GIB: u64 = 1 << 30;
        Self { places, state_dir, at_once: 16, multipart_over: 5 * GIB, part: GIB }
    }
}

/// The frontends of one configuration.
#[derive(Clone)]
pub struct Frontends {
    places: BTreeMap<TargetId, Arc<Place>>,
}

/// One frontend, with what is remembered of it while the process lives.
struct Place {
    is: FrontendPlace,
    at_once: usize,
    multipart_over: u64,
    part: u64,
    clock: Arc<dyn Clock>,
    shelf: Shelf,
    clients: OnceCell<Clients>,
    contents: Mutex<Contents>,
    work: Mutex<Option<Arc<Work>>>,
    /// The invalidation that was found or made last, by its reference.
    invalidated: Mutex<Option<(String, String)>>,
}

/// Why something could not be read or done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    Missing,
    Unclear(String),
}

impl Trouble {
    fn reason(self) -> String {
        match self {
            Trouble::Missing => "it does not exist".into(),
            Trouble::Unclear(why) => why,
        }
    }
}

impl Frontends {
    /// Asks nobody yet: credentials are looked up with the first request.
    pub fn new(options: FrontendOptions, clock: Arc<dyn Clock>) -> Self {
        let place = |is: FrontendPlace| {
            let folder = format!("{}.{}", is.target.service, is.target.target);
            let place = Place {
                at_once: options.at_once.max(1),
                multipart_over: options.multipart_over,
                part: options.part.max(1),
                clock: clock.clone(),
                shelf: Shelf::new(options.state_dir.join("frontends").join(folder)),
                clients: OnceCell::new(),
                contents: Mutex::default(),
                work: Mutex::default(),
                invalidated: Mutex::default(),
                is,
            };
            (place.is.target.clone(), Arc::new(place))
        };
        Self { places: options.places.into_iter().map(place).collect() }
    }

    fn place(&self, target: &TargetId) -> Result<&Arc<Place>, SurveyError> {
        self.places.get(target).ok_or_else(|| SurveyError::Unknown { target: target.clone() })
    }
}

impl Place {
    async fn clients(&self) -> &Clients {
        self.clients.get_or_init(|| Clients::load(&self.is.s3, &self.is.cloudfront)).await
    }

    fn unreadable(&self, trouble: Trouble) -> SurveyError {
        let what = self.is.site.place();
        match trouble {
            Trouble::Missing => SurveyError::Missing { what },
            Trouble::Unclear(why) => SurveyError::Unreadable { what, why },
        }
    }
}
