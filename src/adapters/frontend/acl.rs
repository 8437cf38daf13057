//! Access control lists, which copies do not keep: a public website that works by them would turn private.
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{Grant, Grantee, ObjectOwnership, Permission};

use super::{Place, Trouble};
use crate::adapters::aws::describe;

/// As the headers of a copy take them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Grants {
    pub(super) full: Option<String>,
    pub(super) read: Option<String>,
    pub(super) read_acp: Option<String>,
    pub(super) write_acp: Option<String>,
}

impl Place {
    /// Most buckets have none: their owner owns everything in them.
    pub(super) async fn keeps_acls(&self) -> Result<bool, Trouble> {
        let request = self.clients().await.s3.get_bucket_ownership_controls().bucket(&self.is.site.bucket);
        match request.send().await {
            Ok(answer) => {
                let rules = answer.ownership_controls().map(|controls| controls.rules()).unwrap_or_default();
                Ok(!rules.iter().any(|r| *r.object_ownership() == ObjectOwnership::BucketOwnerEnforced))
            }
            Err(error) if error.code() == Some("OwnershipControlsNotFoundError") => Ok(true),
            Err(error) => Err(Trouble::Unclear(describe(&error))),
        }
    }

    /// `None` if nobody but the owner may do anything.
    pub(super) async fn grants(&self, key: &str, version: &str) -> Result<Option<Grants>, Trouble> {
        let request = self.clients().await.s3.get_object_acl().bucket(&self.is.site.bucket).key(key);
        let answer = request.version_id(version).send().await.map_err(Trouble::of)?;
        let owner = answer.owner().and_then(|owner| owner.id());
        let others = |grant: &&Grant| grant.grantee().and_then(Grantee::id) != owner || owner.is_none();
        if !answer.grants().iter().any(|grant| others(&grant)) {
            return Ok(None);
        }
        let with = |permission: Permission| {
            let granted = answer.grants().iter().filter(|grant| grant.permission() == Some(&permission));
            let names: Vec<String> = granted.filter_map(|grant| named(grant.grantee()?)).collect();
            (!names.is_empty()).then(|| names.join(", "))
        };
        Ok(Some(Grants {
            full: with(Permission::FullControl),
            read: with(Permission::Read),
            read_acp: with(Permission::ReadAcp),
            write_acp: with(Permission::WriteAcp),
        }))
    }
}

fn named(grantee: &Grantee) -> Option<String> {
    match (grantee.id(), grantee.uri(), grantee.email_address()) {
        (Some(id), _, _) => Some(format!("id=\"{id}\"")),
        (None, Some(uri), _) => Some(format!("uri=\"{uri}\"")),
        (None, None, Some(address)) => Some(format!("emailAddress=\"{address}\"")),
        (None, None, None) => None,
    }
}
