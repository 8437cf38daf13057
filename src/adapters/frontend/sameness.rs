//! Whether two versions of an object have the same content, where their ETags are no hashes of it.
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType};

use super::entries::hash;
use super::listing::etag;
use super::{Place, Trouble};

/// Larger ones are not read to be compared: without a checksum a person has to look.
const READ_MAX: i64 = 1 << 30;

impl Place {
    /// By ETag, by checksum, or by reading both.
    pub(super) async fn same_content(&self, key: &str, one: &str, other: &str) -> Result<bool, Trouble> {
        if one == other {
            return Ok(true);
        }
        let (first, second) = tokio::try_join!(self.head(key, Some(one)), self.head(key, Some(other)))?;
        if first.content_length() != second.content_length() {
            return Ok(false);
        }
        if etag(first.e_tag()) == etag(second.e_tag()) {
            return Ok(true);
        }
        if let Some(same) = same_checksum(&first, &second) {
            return Ok(same);
        }
        if first.content_length().is_none_or(|length| length > READ_MAX) {
            return Err(Trouble::Unclear(format!("{key} is too large to be compared, and has no checksum")));
        }
        let (first, second) = tokio::try_join!(self.hash_of(key, one), self.hash_of(key, other))?;
        Ok(first == second)
    }

    /// Of one version, or of what is there now.
    pub(super) async fn head(&self, key: &str, version: Option<&str>) -> Result<HeadObjectOutput, Trouble> {
        let request = self.clients().await.s3.head_object().bucket(&self.is.site.bucket).key(key);
        let request = request.set_version_id(version.map(String::from)).checksum_mode(ChecksumMode::Enabled);
        request.send().await.map_err(Trouble::of)
    }

    async fn hash_of(&self, key: &str, version: &str) -> Result<String, Trouble> {
        let request = self.clients().await.s3.get_object().bucket(&self.is.site.bucket).key(key);
        let answer = request.version_id(version).send().await.map_err(Trouble::of)?;
        hash(answer.body, usize::try_from(READ_MAX).unwrap_or(usize::MAX)).await
    }
}

/// `None` if they have none that can be compared: that of an upload in parts is one of its parts.
fn same_checksum(one: &HeadObjectOutput, other: &HeadObjectOutput) -> Option<bool> {
    let whole = |head: &HeadObjectOutput| head.checksum_type() != Some(&ChecksumType::Composite);
    if !whole(one) || !whole(other) {
        return None;
    }
    let sums = |head: &HeadObjectOutput| {
        let sums = [
            head.checksum_sha256(),
            head.checksum_crc64_nvme(),
            head.checksum_sha1(),
            head.checksum_crc32_c(),
            head.checksum_crc32(),
        ];
        sums.map(|sum| sum.filter(|sum| !sum.contains('-')).map(String::from))
    };
    sums(one).into_iter().zip(sums(other)).find_map(|(one, other)| Some(one? == other?))
}
