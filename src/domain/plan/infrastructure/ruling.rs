//! What may be done with a plan: nothing stands against it, a person must look at it, or it is not applied at all.
use std::fmt;

use serde::{Deserialize, Serialize};

use super::change::{ResourceAction, ResourceChange};
use super::reading::PlanReading;

/// By what the configuration judges plans. Patterns may hold `*`, and match a resource's type, its address, or its address
/// within its module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanTerms {
    /// Resources that hold what cannot be made again, beside those that are known to.
    pub stateful: Vec<String>,
    /// Resources that a rollback never changes, whoever approves.
    pub never: Vec<String>,
    /// A plan that changes more is not applied.
    pub changes_max: usize,
    /// A plan that deletes, replaces or forgets more is not applied.
    pub deletes_max: usize,
}

/// Types whose objects hold data, identity or credentials. What is lost with one does not come back with the next.
const STATEFUL: &[&str] = &[
    "aws_acm_certificate",
    "aws_backup_vault",
    "aws_cloudwatch_log_group",
    "aws_cognito_user_pool",
    "aws_db_instance",
    "aws_db_snapshot",
    "aws_docdb_*",
    "aws_dynamodb_table",
    "aws_ebs_snapshot*",
    "aws_ebs_volume",
    "aws_ecr_repository",
    "aws_efs_*",
    "aws_eks_cluster",
    "aws_eks_node_group",
    "aws_elasticache_*",
    "aws_elasticsearch_domain",
    "aws_fsx_*",
    "aws_iam_role",
    "aws_kinesis_stream",
    "aws_kms_key",
    "aws_memorydb_*",
    "aws_msk_cluster",
    "aws_neptune_*",
    "aws_opensearch_domain",
    "aws_rds_cluster*",
    "aws_redshift_*",
    "aws_route53_zone",
    "aws_s3_bucket*",
    "aws_secretsmanager_secret",
    "aws_sqs_queue",
    "aws_ssm_parameter",
    "aws_subnet",
    "aws_vpc",
    "helm_release",
    "kubernetes_namespace",
    "kubernetes_persistent_volume*",
    // Replacing them rotates credentials.
    "random_password",
    "tls_private_key",
];

/// What stands against applying a plan, or against applying it unseen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "objection", rename_all = "snake_case")]
pub enum Objection {
    Never { address: String, pattern: String },
    UnknownAction { address: String, actions: Vec<String> },
    Incomplete,
    TooManyChanges { changes: usize, most: usize },
    TooManyDeletes { deletes: usize, most: usize },
    Deletes { address: String, action: ResourceAction },
    Stateful { address: String, action: ResourceAction },
    Imports { address: String },
    Invokes { actions: usize },
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never { address, pattern } => write!(f, "{address} may never be changed ({pattern:?})"),
            Self::UnknownAction { address, actions } => {
                write!(f, "it is not known what {:?} does to {address}", actions.join(", "))
            }
            Self::Incomplete => f.write_str("the plan is not complete"),
            Self::TooManyChanges { changes, most } => write!(f, "{changes} changes are more than {most}"),
            Self::TooManyDeletes { deletes, most } => {
                write!(f, "{deletes} resources would be deleted, replaced or forgotten, more than {most}")
            }
            Self::Deletes { address, action } => write!(f, "{action}: {address}"),
            Self::Stateful { address, action } => write!(f, "{action}: {address}, which holds state"),
            Self::Imports { address } => write!(f, "{address} is imported into the state"),
            Self::Invokes { actions } => write!(f, "{actions} actions of providers are run"),
        }
    }
}

/// What was found against a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruling {
    /// Nobody can approve it.
    pub refused: Vec<Objection>,
    /// A person must approve it, whatever the policy says.
    pub person: Vec<Objection>,
}

pub fn rule(plan: &PlanReading, terms: &PlanTerms) -> Ruling {
    let mut ruling = Ruling::default();
    for change in &plan.changes {
        ruling.refused.extend(never(change, terms));
        ruling.refused.extend(unknown(change.address.as_str(), &change.action));
        ruling.person.extend(dangerous(change, terms));
    }
    ruling
        .refused
        .extend(plan.outputs.iter().filter_map(|o| unknown(&format!("output {}", o.name), &o.action)));
    ruling.refused.extend(plan.incomplete.then_some(Objection::Incomplete));
    let loses = |change: &&ResourceChange| change.action.deletes() || change.action.forgets();
    let (changes, deletes) = (plan.changes.len(), plan.changes.iter().filter(loses).count());
    if changes > terms.changes_max {
        ruling.refused.push(Objection::TooManyChanges { changes, most: terms.changes_max });
    }
    if deletes > terms.deletes_max {
        ruling.refused.push(Objection::TooManyDeletes { deletes, most: terms.deletes_max });
    }
    if plan.invocations > 0 {
        ruling.person.push(Objection::Invokes { actions: plan.invocations });
    }
    ruling
}

fn never(change: &ResourceChange, terms: &PlanTerms) -> Option<Objection> {
    let pattern = terms.never.iter().find(|pattern| is_about(pattern, change))?;
    Some(Objection::Never { address: change.address.clone(), pattern: pattern.clone() })
}

fn unknown(address: &str, action: &ResourceAction) -> Option<Objection> {
    let ResourceAction::Unknown(actions) = action else { return None };
    Some(Objection::UnknownAction { address: address.to_string(), actions: actions.clone() })
}

fn dangerous(change: &ResourceChange, terms: &PlanTerms) -> Option<Objection> {
    let (address, action) = (change.address.clone(), change.action.clone());
    let stateful = || {
        let known = STATEFUL.iter().any(|pattern| matches(pattern, &change.kind));
        known || terms.stateful.iter().any(|pattern| is_about(pattern, change))
    };
    if action != ResourceAction::Create && stateful() {
        return Some(Objection::Stateful { address, action });
    }
    if action.deletes() || action.forgets() {
        return Some(Objection::Deletes { address, action });
    }
    change.imported.then_some(Objection::Imports { address })
}

fn is_about(pattern: &str, change: &ResourceChange) -> bool {
    let addresses = std::iter::once(&change.address).chain(&change.moved_from);
    let within = |address: &String| {
        let place = address.find(&format!("{}.", change.kind)).unwrap_or(0);
        matches(pattern, address) || address.get(place..).is_some_and(|own| matches(pattern, own))
    };
    matches(pattern, &change.kind) || addresses.into_iter().any(within)
}

/// Whether the text is as the pattern says, in which `*` stands for any text.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
