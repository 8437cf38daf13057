//! RDS: the instance as it is described, and its snapshots, which are taken once and looked at until they are there.
use aws_sdk_rds::Client;
use aws_sdk_rds::config::retry::RetryConfig;
use aws_sdk_rds::error::ProvideErrorMetadata;
use aws_sdk_rds::operation::RequestId;
use aws_sdk_rds::operation::describe_db_snapshots::DescribeDBSnapshotsError;
use aws_sdk_rds::types::{DbInstance, DbSnapshot, Tag};
use tokio::sync::OnceCell;

use crate::adapters::aws::{AwsAccess, describe};
use crate::domain::outcome::{Call, Outcome};
use crate::domain::plan::database::{Instance, SnapshotFacts, TakeSnapshot};
use crate::ports::calls;

/// Which instance, and how RDS is reached.
#[derive(Clone, Debug)]
pub struct RdsOptions {
    pub access: AwsAccess,
    pub instance: String,
}

/// See [`RdsOptions`].
pub struct Rds {
    options: RdsOptions,
    client: OnceCell<Client>,
}

/// Says whose a snapshot is.
const RUN_TAG: &str = "rollguard:run";

impl Rds {
    /// Asks nobody yet: credentials are looked up with the first request.
    pub(super) fn new(options: RdsOptions) -> Self {
        Self { options, client: OnceCell::new() }
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(async || Client::new(&self.options.access.load().await)).await
    }

    pub(super) async fn instance(&self) -> Result<Instance, String> {
        let id = &self.options.instance;
        let asked = self.client().await.describe_db_instances().db_instance_identifier(id).send().await;
        let answer = asked.map_err(|error| format!("RDS: {}", describe(&error)))?;
        let found = answer.db_instances().first();
        found.map(instance).ok_or_else(|| format!("RDS knows no instance {id}"))
    }

    /// `None` if there is none of this name.
    pub(super) async fn snapshot(&self, id: &str) -> Result<Option<SnapshotFacts>, String> {
        match self.client().await.describe_db_snapshots().db_snapshot_identifier(id).send().await {
            Ok(answer) => Ok(answer.db_snapshots().first().map(facts)),
            Err(error) => match error.as_service_error() {
                Some(DescribeDBSnapshotsError::DbSnapshotNotFoundFault(_)) => Ok(None),
                Some(_) | None => Err(format!("RDS: {}", describe(&error))),
            },
        }
    }

    /// Sent once: what became of a request whose answer is lost is looked up under the snapshot's own name.
    pub(super) async fn take(&self, step: &TakeSnapshot) -> Outcome {
        let tag = Tag::builder().key(RUN_TAG).value(&step.run).build();
        let request = self
            .client()
            .await
            .create_db_snapshot()
            .db_instance_identifier(&step.instance)
            .db_snapshot_identifier(&step.snapshot)
            .tags(tag);
        let once = aws_sdk_rds::config::Builder::new().retry_config(RetryConfig::disabled());
        let answer = request.customize().config_override(once).send().await;
        let id = &step.snapshot;
        let request_id = match &answer {
            Ok(done) => done.request_id().map(str::to_string),
            Err(error) => error.request_id().map(str::to_string),
        };
        note(id, request_id);
        match answer {
            Ok(_) => Outcome::Done { detail: format!("the snapshot {id} is being taken") },
            Err(error) => {
                let why = format!("RDS: {}", describe(&error));
                match error.as_service_error().and_then(ProvideErrorMetadata::code) {
                    // Whose it is, the next look tells.
                    Some("DBSnapshotAlreadyExists") => {
                        Outcome::Done { detail: format!("the snapshot {id} is there already") }
                    }
                    Some(
                        "InvalidDBInstanceState"
                        | "SnapshotQuotaExceeded"
                        | "DBInstanceNotFound"
                        | "AccessDenied",
                    ) => Outcome::Refused { why },
                    Some(_) | None => Outcome::Unknown { why },
                }
            }
        }
    }
}

fn note(id: &str, request_id: Option<String>) {
    let path = format!("rds snapshot {id}");
    let request_id = request_id.unwrap_or_default();
    calls::made(Call { method: "CreateDBSnapshot".into(), path, request_id, status: None });
}

fn text(value: Option<&str>) -> String {
    value.unwrap_or_default().to_string()
}

fn instance(found: &DbInstance) -> Instance {
    Instance {
        id: text(found.db_instance_identifier()),
        engine: text(found.engine()),
        status: text(found.db_instance_status()),
        cluster: found.db_cluster_identifier().map(str::to_string),
    }
}

fn facts(found: &DbSnapshot) -> SnapshotFacts {
    let run = found.tag_list().iter().find(|tag| tag.key() == Some(RUN_TAG));
    SnapshotFacts {
        status: text(found.status()),
        run: run.and_then(Tag::value).map(str::to_string),
        instance: text(found.db_instance_identifier()),
        percent: found.percent_progress(),
    }
}
