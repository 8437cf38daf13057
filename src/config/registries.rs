//! Which registries of images are asked whether what a rollback needs is still there.
use std::time::Duration;

use url::Url;

use super::raw::Fields;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistriesConfig {
    pub ecr: Option<EcrConfig>,
}

/// The region and the account are in the name of each image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcrConfig {
    /// Of `~/.aws/config`; `None` for the credentials that the SDK finds by itself.
    pub profile: Option<String>,
    /// Instead of the region's own.
    pub endpoint: Option<Url>,
    /// Of one request.
    pub timeout: Duration,
}

pub(super) fn registries(fields: &Fields<'_>) -> RegistriesConfig {
    RegistriesConfig { ecr: fields.map("ecr").and_then(|ecr| read_ecr(&ecr)) }
}

fn read_ecr(fields: &Fields<'_>) -> Option<EcrConfig> {
    if !cfg!(feature = "aws") {
        fields.notes.error(
            fields.begin(),
            "ecr: this rollguard was built without AWS: build it with its default features, or leave ecr out",
        );
        return None;
    }
    Some(EcrConfig {
        profile: fields.read("profile"),
        endpoint: fields.read("endpoint"),
        timeout: fields.read("timeout").unwrap_or(Duration::from_secs(3)),
    })
}
