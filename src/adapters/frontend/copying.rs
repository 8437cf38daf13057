//! One object at a time: an earlier version becomes the current one, or a delete marker is put on it; guarded by what was seen.
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, MetadataDirective, TaggingDirective};
use futures::StreamExt;

use super::acl::Grants;
use super::clients::encoded;
use super::listing::{NULL_VERSION, etag};
use super::restoring::Carried;
use super::{Place, Trouble};
use crate::adapters::aws::describe;
use crate::domain::outcome::Call;
use crate::domain::plan::frontend::{Change, Found, Line};
use crate::ports::calls;

/// Attempts at one object; before each further one it is looked at.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(200);
/// Calls that are noted of one step: thousands would fill the journal.
const NOTED: usize = 16;
/// Parts of one object that are copied at once.
const PARTS: usize = 4;

/// An attempt that did not end well.
struct Failure {
    why: String,
    /// The server said that it will never do this.
    final_: bool,
}

/// The version to copy, and what a copy would lose.
struct Source<'a> {
    key: &'a str,
    version: &'a str,
    size: u64,
    head: HeadObjectOutput,
    grants: Grants,
}

/// What is there now, beside what the plan found.
enum Look {
    Open,
    Done(Option<String>),
    Foreign,
}

impl Place {
    pub(super) async fn carry(&self, line: &Line, keeps_acls: bool, noted: &AtomicUsize) -> Carried {
        let source = match &line.change {
            Change::MarkDeleted => None,
            Change::Copy { version, size, .. } => match self.source(line, version, *size, keeps_acls).await {
                Ok(source) => Some(source),
                Err(trouble) => return Carried::Failed(format!("{}: {}", line.key, trouble.reason())),
            },
        };
        let mut last = String::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(PAUSE * (1 << attempt)).await;
            }
            let done = match &source {
                Some(source) => self.copy(source, &line.found, noted).await,
                None => self.mark_deleted(line, noted).await,
            };
            let failure = match done {
                Ok(version) => return Carried::Done(version),
                Err(failure) => failure,
            };
            // What became of it is not guessed: the object says so itself.
            match self.look(line).await {
                Ok(Look::Open) if failure.final_ => {
                    return Carried::Failed(format!("{}: {}", line.key, failure.why));
                }
                Ok(Look::Open) => last = failure.why,
                Ok(Look::Done(version)) => return Carried::Done(version),
                Ok(Look::Foreign) => {
                    return Carried::Conflict(format!("somebody changed {} meanwhile", line.key));
                }
                Err(trouble) => last = trouble.reason(),
            }
        }
        Carried::Failed(format!("{}: {last}", line.key))
    }

    async fn source<'a>(
        &self,
        line: &'a Line,
        version: &'a str,
        size: u64,
        keeps_acls: bool,
    ) -> Result<Source<'a>, Trouble> {
        let head = self.head(&line.key, Some(version)).await?;
        let grants = if keeps_acls { self.grants(&line.key, version).await? } else { None };
        Ok(Source { key: &line.key, version, size, head, grants: grants.unwrap_or_default() })
    }

    async fn look(&self, line: &Line) -> Result<Look, Trouble> {
        let now = match self.head(&line.key, None).await {
            Ok(head) => Some(head),
            Err(Trouble::Missing) => None,
            Err(trouble) => return Err(trouble),
        };
        let id = |head: &HeadObjectOutput| head.version_id().unwrap_or(NULL_VERSION).to_string();
        Ok(match (&line.change, &line.found, now) {
            (_, Found::Object { version, .. }, Some(now)) if id(&now) == *version => Look::Open,
            (Change::MarkDeleted, _, None) => Look::Done(None),
            (Change::MarkDeleted, _, Some(_)) => Look::Foreign,
            (Change::Copy { .. }, Found::Nothing, None) => Look::Open,
            (Change::Copy { .. }, Found::Object { .. }, None) => Look::Foreign,
            (Change::Copy { version, etag: wanted, .. }, _, Some(now)) => {
                let same =
                    etag(now.e_tag()) == *wanted || self.same_content(&line.key, version, &id(&now)).await?;
                if same { Look::Done(Some(id(&now))) } else { Look::Foreign }
            }
        })
    }

    async fn mark_deleted(&self, line: &Line, noted: &AtomicUsize) -> Result<Option<String>, Failure> {
        let request = self.clients().await.changing.delete_object();
        // Never with a version: that would delete it for good.
        let request = request.bucket(&self.is.site.bucket).key(&line.key).set_if_match(seen(&line.found));
        let answer = request.send().await;
        note(
            noted,
            "DELETE",
            self.path(&line.key),
            &answer,
            answer.as_ref().ok().and_then(RequestId::request_id),
        );
        answer.map(|_| None).map_err(|error| failure(&error))
    }

    async fn copy(
        &self,
        source: &Source<'_>,
        found: &Found,
        noted: &AtomicUsize,
    ) -> Result<Option<String>, Failure> {
        if source.size > self.multipart_over {
            return self.copy_in_parts(source, found, noted).await;
        }
        let Source { key, head, grants, .. } = source;
        let request = self.clients().await.changing.copy_object();
        let request = request.bucket(&self.is.site.bucket).key(*key).copy_source(self.from(source));
        let request = request
            .metadata_directive(MetadataDirective::Copy)
            .tagging_directive(TaggingDirective::Copy)
            .set_if_match(seen(found))
            .set_if_none_match(unseen(found))
            .set_storage_class(head.storage_class().cloned())
            .set_server_side_encryption(head.server_side_encryption().cloned())
            .set_ssekms_key_id(head.ssekms_key_id().map(String::from))
            .set_bucket_key_enabled(head.bucket_key_enabled())
            .set_website_redirect_location(head.website_redirect_location().map(String::from))
            .set_grant_full_control(grants.full.clone())
            .set_grant_read(grants.read.clone())
            .set_grant_read_acp(grants.read_acp.clone())
            .set_grant_write_acp(grants.write_acp.clone());
        let answer = request.send().await;
        note(noted, "PUT", self.path(key), &answer, answer.as_ref().ok().and_then(RequestId::request_id));
        let made = answer.map_err(|error| failure(&error))?;
        Ok(Some(made.version_id().unwrap_or(NULL_VERSION).to_string()))
    }

    fn from(&self, source: &Source<'_>) -> String {
        format!("{}/{}?versionId={}", self.is.site.bucket, encoded(source.key), encoded(source.version))
    }

    fn path(&self, key: &str) -> String {
        format!("/{}/{}", self.is.site.bucket, encoded(key))
    }

    async fn copy_in_parts(
        &self,
        source: &Source<'_>,
        found: &Found,
        noted: &AtomicUsize,
    ) -> Result<Option<String>, Failure> {
        let (s3, bucket) = (&self.clients().await.changing, &self.is.site.bucket);
        let upload = self.begin_upload(source).await?;
        let parts = match self.copy_parts(source, &upload).await {
            Ok(parts) => parts,
            Err(failure) => {
                // Parts that nobody completes cost money; a lifecycle rule takes what cannot be taken back here.
                drop(
                    s3.abort_multipart_upload().bucket(bucket).key(source.key).upload_id(upload).send().await,
                );
                return Err(failure);
            }
        };
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = s3.complete_multipart_upload().bucket(bucket).key(source.key).upload_id(upload);
        let request = request.multipart_upload(parts);
        let answer = request.set_if_match(seen(found)).set_if_none_match(unseen(found)).send().await;
        note(
            noted,
            "POST",
            self.path(source.key),
            &answer,
            answer.as_ref().ok().and_then(RequestId::request_id),
        );
        let made = answer.map_err(|error| failure(&error))?;
        Ok(Some(made.version_id().unwrap_or(NULL_VERSION).to_string()))
    }

    /// A copy in parts keeps nothing by itself.
    async fn begin_upload(&self, source: &Source<'_>) -> Result<String, Failure> {
        let Source { key, version, head, grants, .. } = source;
        let s3 = &self.clients().await.s3;
        let tags = s3.get_object_tagging().bucket(&self.is.site.bucket).key(*key).version_id(*version);
        let tags = tags.send().await.map_err(|error| failure(&error))?;
        let pair = |tag: &aws_sdk_s3::types::Tag| {
            format!("{}={}", encoded_whole(tag.key()), encoded_whole(tag.value()))
        };
        let tags: Vec<String> = tags.tag_set().iter().map(pair).collect();
        let request = self.clients().await.changing.create_multipart_upload();
        let request = request
            .bucket(&self.is.site.bucket)
            .key(*key)
            .set_tagging((!tags.is_empty()).then(|| tags.join("&")))
            .set_metadata(head.metadata().cloned())
            .set_content_type(head.content_type().map(String::from))
            .set_cache_control(head.cache_control().map(String::from))
            .set_content_encoding(head.content_encoding().map(String::from))
            .set_content_language(head.content_language().map(String::from))
            .set_content_disposition(head.content_disposition().map(String::from))
            .set_storage_class(head.storage_class().cloned())
            .set_server_side_encryption(head.server_side_encryption().cloned())
            .set_ssekms_key_id(head.ssekms_key_id().map(String::from))
            .set_bucket_key_enabled(head.bucket_key_enabled())
            .set_website_redirect_location(head.website_redirect_location().map(String::from))
            .set_grant_full_control(grants.full.clone())
            .set_grant_read(grants.read.clone())
            .set_grant_read_acp(grants.read_acp.clone())
            .set_grant_write_acp(grants.write_acp.clone());
        let made = request.send().await.map_err(|error| failure(&error))?;
        let unnamed = || Failure { why: "an upload has no name".into(), final_: false };
        made.upload_id().map(String::from).ok_or_else(unnamed)
    }

    async fn copy_parts(&self, source: &Source<'_>, upload: &str) -> Result<Vec<CompletedPart>, Failure> {
        let mut parts = Vec::new();
        for part in 0..source.size.div_ceil(self.part) {
            parts.push(self.copy_part(source, upload, part));
        }
        let copied: Vec<_> = futures::stream::iter(parts).buffered(PARTS).collect().await;
        copied.into_iter().collect()
    }

    async fn copy_part(
        &self,
        source: &Source<'_>,
        upload: &str,
        part: u64,
    ) -> Result<CompletedPart, Failure> {
        let number = i32::try_from(part + 1).unwrap_or(i32::MAX);
        let first = part * self.part;
        let last = (first + self.part).min(source.size) - 1;
        let request = self.clients().await.changing.upload_part_copy().bucket(&self.is.site.bucket);
        let request = request.key(source.key).upload_id(upload).part_number(number);
        let request =
            request.copy_source(self.from(source)).copy_source_range(format!("bytes={first}-{last}"));
        let made = request.send().await.map_err(|error| failure(&error))?;
        let etag = made.copy_part_result().and_then(|part| part.e_tag()).map(String::from);
        Ok(CompletedPart::builder().part_number(number).set_e_tag(etag).build())
    }
}

/// For `If-Match`.
fn seen(found: &Found) -> Option<String> {
    match found {
        Found::Object { etag, .. } => Some(format!("\"{etag}\"")),
        Found::Nothing => None,
    }
}

/// For `If-None-Match`.
fn unseen(found: &Found) -> Option<String> {
    match found {
        Found::Object { .. } => None,
        Found::Nothing => Some("*".into()),
    }
}

fn encoded_whole(text: &str) -> String {
    encoded(text).replace('/', "%2F")
}

/// Answers that say that this request will never be taken.
fn failure<E, R>(error: &SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let refused =
        ["AccessDenied", "InvalidRequest", "InvalidArgument", "KMS.DisabledException", "NoSuchVersion"];
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    Failure { why: describe(error), final_: code.is_some_and(|code| refused.contains(&code)) }
}

fn note<T, E>(
    noted: &AtomicUsize,
    method: &str,
    path: String,
    answer: &Result<T, SdkError<E>>,
    id: Option<&str>,
) where
    SdkError<E>: RequestId,
{
    if noted.fetch_add(1, Ordering::Relaxed) >= NOTED {
        return;
    }
    let (id, status) = match answer {
        Ok(_) => (id, Some(200)),
        Err(error) => (error.request_id(), error.raw_response().map(|raw| raw.status().as_u16())),
    };
    calls::made(Call { method: method.into(), path, request_id: id.unwrap_or("none").into(), status });
}
