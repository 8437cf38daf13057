//! Clients for reading, which is repeated when it fails, and for changing, which never is without looking first.
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::Trouble;
use crate::adapters::aws::{AwsAccess, describe};

pub(super) struct Clients {
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) changing: aws_sdk_s3::Client,
    pub(super) cdn: aws_sdk_cloudfront::Client,
    pub(super) changing_cdn: aws_sdk_cloudfront::Client,
}

/// S3 copies up to 5 GB in one request.
const COPY_MAX: Duration = Duration::from_secs(300);

impl Clients {
    pub(super) async fn load(s3: &AwsAccess, cloudfront: &AwsAccess) -> Self {
        let (access, shared, cloudfront) = (s3, s3.load().await, cloudfront.load().await);
        // Whatever is not AWS' own endpoint rarely knows a host name for each bucket.
        let s3 = aws_sdk_s3::config::Builder::from(&shared).force_path_style(access.endpoint.is_some());
        let patient = TimeoutConfig::builder()
            .connect_timeout(access.timeout)
            .operation_attempt_timeout(COPY_MAX)
            .operation_timeout(COPY_MAX)
            .build();
        let once = RetryConfig::disabled();
        let changing = s3.clone().retry_config(once.clone()).timeout_config(patient);
        let cdn = aws_sdk_cloudfront::config::Builder::from(&cloudfront);
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            changing: aws_sdk_s3::Client::from_conf(changing.build()),
            cdn: aws_sdk_cloudfront::Client::from_conf(cdn.clone().build()),
            changing_cdn: aws_sdk_cloudfront::Client::from_conf(cdn.retry_config(once).build()),
        }
    }
}

impl Trouble {
    pub(super) fn of<E, R>(error: SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        match error.as_service_error().and_then(ProvideErrorMetadata::code) {
            Some("NoSuchBucket" | "NoSuchKey" | "NoSuchVersion" | "NotFound") => Trouble::Missing,
            Some(_) | None => Trouble::Unclear(describe(&error)),
        }
    }
}

/// A key in a header: everything but letters, digits, `-`, `_`, `.`, `~` and slashes is percent-encoded.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(byte);
    let encode = |byte: u8| match plain(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// The opposite, as listings with `EncodingType=url` come; a `+` is a space there.
pub(super) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    let hex = |at: usize| {
        let digits = std::str::from_utf8(bytes.get(at + 1..at + 3)?).ok()?;
        u8::from_str_radix(digits, 16).ok()
    };
    while let Some(byte) = bytes.get(at) {
        match (byte, hex(at)) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_keys_survive_both_ways() {
        for key in ["a b/\u{fc}.js", "50%.css", "a+b", "dir/", "x&y=z?#", "%41"] {
            assert_eq!(decoded(&encoded(key)), key);
        }
        assert_eq!(decoded("a+b%2Bc%zz"), "a b+c%zz");
    }
}
