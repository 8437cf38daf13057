//! How AWS is reached: region, credentials, time limits and retries, the same for all of its services.
use std::error::Error;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_sdk_cloudwatch::error::{ProvideErrorMetadata, SdkError};

use super::outbound::shorten;

/// Where AWS is, and as whom it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsAccess {
    pub region: String,
    /// Of `~/.aws/config`; `None` for the usual chain: environment, web identity, profile, container, instance.
    pub profile: Option<String>,
    /// Instead of the endpoint that belongs to the service and region.
    pub endpoint: Option<String>,
    /// Of one attempt, from connecting to the last byte.
    pub timeout: Duration,
}

/// How often a request is sent: reading is safe to repeat, and AWS throttles.
const ATTEMPTS: u32 = 3;
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
const CONNECT_MAX: Duration = Duration::from_secs(3);

impl AwsAccess {
    /// What every client of a service is made from. Credentials are looked up with the first request, and renewed.
    pub async fn load(&self) -> SdkConfig {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(self.timeout.min(CONNECT_MAX))
            .operation_attempt_timeout(self.timeout)
            .operation_timeout(self.timeout * ATTEMPTS + BACKOFF_MAX)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS)
            .with_initial_backoff(BACKOFF_FIRST)
            .with_max_backoff(BACKOFF_MAX);
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .timeout_config(timeouts)
            .retry_config(retries);
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint.trim_end_matches('/'));
        }
        if let Ok(name) = AppName::new("rollguard") {
            loader = loader.app_name(name);
        }
        loader.load().await
    }
}

/// What went wrong, in one short line: AWS' own code and message where it answered.
pub fn describe<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug,
{
    if let SdkError::TimeoutError(_) = error {
        return "timed out".into();
    }
    let told = error.as_service_error().and_then(|answer| Some((answer.code()?, answer.message())));
    match told {
        Some((code, Some(message))) => shorten(&format!("{code}: {message}")),
        Some((code, None)) => shorten(code),
        None => shorten(&root_cause(error)),
    }
}

fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
