//! Every key of the configuration: the one table behind reading, unknown-key suggestions and the JSON Schema.
mod database;
mod notify;
mod people;

use std::time::Duration;

use super::frontend::FRONTEND;
use super::infrastructure::INFRASTRUCTURE;
use super::shape::{Field, Leaf, Need, Shape};
use database::{DATABASE, REDIS, SQL};
use notify::NOTIFY;
use people::{API, MODES, POLICY};

pub(super) const fn optional(name: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field { name, shape, need: Need::Optional, doc }
}

pub(super) const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field { name, shape, need: Need::Here, doc }
}

pub(super) const fn leaf(leaf: Leaf) -> Shape {
    Shape::Leaf(leaf)
}

pub(super) const fn span(least_ms: u64, most_secs: u64) -> Shape {
    Shape::Leaf(Leaf::Duration {
        least: Duration::from_millis(least_ms),
        most: Duration::from_secs(most_secs),
    })
}

pub(super) const fn share(most: f64) -> Shape {
    Shape::Leaf(Leaf::Share { most })
}

const HOUR: u64 = 3600;
pub(super) const DAY: u64 = 24 * HOUR;
const NAME: Shape = leaf(Leaf::Name);
pub(super) const TEXT: Shape = leaf(Leaf::Text);
const URL: Shape = leaf(Leaf::Url);
pub(super) const PATH: Shape = leaf(Leaf::Path);
const BOOL: Shape = leaf(Leaf::Bool);
const NUMBER: Shape = leaf(Leaf::Number);
const COUNT: Shape = leaf(Leaf::Count { least: 1, most: 1000 });
const SELECTOR: Shape = leaf(Leaf::Selector);
const SOURCE: Shape = leaf(Leaf::Choice(&["prometheus", "scrape", "cloudwatch"]));
const GITOPS: Shape = leaf(Leaf::Choice(&["refuse", "suspend"]));

pub(super) const ROOT: &[Field] = &[
    optional(
        "listen",
        leaf(Leaf::Address),
        "Where the API, the webhook, the dashboard and /metrics are served.",
    ),
    optional("state_dir", PATH, "Directory of the journal and the recordings; it must survive restarts."),
    optional("external_url", URL, "Where people reach rollguard, for links in messages."),
    optional("journal", Shape::Map(JOURNAL), "Where the journal is; without it in state_dir."),
    optional("leadership", Shape::Map(LEADERSHIP), "Which of several replicas leads."),
    optional("status_page", URL, "Your public status page, named in messages."),
    optional("api", Shape::Map(API), "Who may approve, deny and order."),
    optional(
        "kubernetes",
        Shape::Map(KUBERNETES),
        "The cluster; without it in-cluster, else ~/.kube/config.",
    ),
    optional("sources", Shape::Map(SOURCES), "Where measurements come from."),
    optional("registries", Shape::Map(REGISTRIES), "Who knows whether images are still there."),
    optional("alertmanager", Shape::Map(ALERTMANAGER), "Alerts in, pages out."),
    optional("notify", Shape::Map(NOTIFY), "Who is told."),
    optional("rollbacks_at_once", COUNT, "How many rollbacks are carried out at once by themselves."),
    optional(
        "defaults",
        Shape::Map(DEFAULTS),
        "Any key of a service except name and targets; a service's own key wins whole.",
    ),
    required("services", Shape::Maps(SERVICE), "What is protected."),
];

const JOURNAL: &[Field] =
    &[optional("postgres", Shape::Map(POSTGRES), "A Postgres, 13 or later, that several replicas share.")];

const POSTGRES: &[Field] = &[
    required("url", Shape::Secret, "postgres://user:password@host:5432/database."),
    optional("schema", TEXT, "The schema that is the journal's own; rollguard unless set."),
    optional("tls", Shape::Map(POSTGRES_TLS), "How the connection is encrypted."),
];

const POSTGRES_TLS: &[Field] = &[
    optional(
        "mode",
        leaf(Leaf::Choice(&["disable", "require", "verify-full"])),
        "verify-full unless set; require takes any certificate.",
    ),
    optional("ca_file", PATH, "PEM file of the certificates that the server's must be signed by."),
];

const LEADERSHIP: &[Field] =
    &[required("lease", Shape::Map(LEASE), "The Lease of Kubernetes that replicas compete for.")];

const LEASE: &[Field] = &[
    optional("namespace", leaf(Leaf::KubernetesName), "Its namespace, the pod's own unless said otherwise."),
    optional("name", leaf(Leaf::KubernetesName), "Its name, rollguard unless said otherwise."),
    optional("duration", span(1_000, HOUR), "After so long without a renewal another replica takes it; 15s."),
    optional("renew_deadline", span(500, HOUR), "After so long without a renewal the leader stops; 10s."),
    optional("retry", span(100, 600), "Between two renewals, or looks at the lease; 2s."),
];

const KUBERNETES: &[Field] = &[
    optional("kubeconfig", PATH, "Path of a kubeconfig."),
    optional("context", TEXT, "Context in the kubeconfig."),
    optional("url", URL, "An API server without credentials, such as kubectl proxy."),
    optional(
        "argocd_namespace",
        leaf(Leaf::KubernetesName),
        "Where Argo CD keeps its own Applications, argocd unless said otherwise.",
    ),
    optional("events", BOOL, "Tell each workload's story in Kubernetes Events; true unless set."),
    optional(
        "failed_probes",
        BOOL,
        "Whether Events about failed probes are watched; needs a right on events. false unless set.",
    ),
    optional(
        "compare",
        Shape::Map(COMPARE),
        "What is compared with the time when a version was healthy, if it is bad after its rollback.",
    ),
];

const COMPARE: &[Field] = &[
    optional(
        "config_maps",
        BOOL,
        "The ConfigMaps that its template names, as hashes; needs get on them. false unless set.",
    ),
    optional("secrets", BOOL, "Its Secrets, as keyed hashes; needs get on them. false unless set."),
];

const SOURCES: &[Field] = &[
    optional("prometheus", Shape::Map(PROMETHEUS), "A Prometheus, or anything that speaks its query API."),
    optional("scrape", Shape::Map(SCRAPE), "The pods' own /metrics, read directly."),
    optional("cloudwatch", Shape::Map(CLOUDWATCH), "Metrics and alarms of AWS, once a minute."),
];

const PROMETHEUS: &[Field] = &[
    required("url", URL, "Base URL of the query API."),
    optional(
        "interval",
        span(100, HOUR),
        "How often fresh releases are measured; at least the scrape interval.",
    ),
    optional("timeout", span(100, 300), "Longest wait for an answer."),
    optional("bearer_token", Shape::Secret, "Sent as Authorization: Bearer."),
    optional("headers", Shape::Headers, "Further request headers, such as a tenant."),
    optional("namespace_label", TEXT, "Label of the namespace on your series."),
    optional("pod_label", TEXT, "Label of the pod on your series."),
];

const SCRAPE: &[Field] = &[
    optional("interval", span(100, HOUR), "How often pods are read for their history."),
    optional("fresh_interval", span(100, HOUR), "How often while a release is fresh."),
    optional("timeout", span(50, 60), "Longest wait for a pod."),
];

const CLOUDWATCH: &[Field] = &[
    required("region", TEXT, "The region whose metrics are read; CloudFront's are in us-east-1."),
    optional("profile", TEXT, "Profile of ~/.aws/config; without it the usual chain of credentials."),
    optional("endpoint", URL, "Where CloudWatch is reached, such as a VPC endpoint."),
    optional("interval", span(60_000, HOUR), "How often fresh releases are measured; each metric is billed."),
    optional(
        "settle",
        span(0, 600),
        "How long a minute must be over before it counts; datapoints come late.",
    ),
    optional("timeout", span(100, 5), "Longest wait for an answer, which is asked for up to three times."),
];

const REGISTRIES: &[Field] =
    &[optional("ecr", Shape::Map(ECR), "Amazon ECR, asked about the images that a rollback needs.")];

const ECR: &[Field] = &[
    optional("profile", TEXT, "Profile of ~/.aws/config; without it the usual chain of credentials."),
    optional("endpoint", URL, "Where ECR is reached, such as a VPC endpoint."),
    optional("timeout", span(100, 5), "Longest wait for an answer, which is asked for up to three times."),
];

const ALERTMANAGER: &[Field] = &[
    optional("url", URL, "Base URL, for paging and for the check no_active_alerts."),
    optional("webhook_token", Shape::Secret, "What Alertmanager must send to POST /webhook/alertmanager."),
    optional("page", BOOL, "Whether pages are sent as alerts, so that your own routes page."),
    optional("labels", Shape::Labels, "Further labels of these alerts, for your routes."),
];

macro_rules! service_keys {
    ($($own:expr),*) => {
        [
            $($own,)*
            Field { name: "policy", shape: Shape::WordOrMap(MODES, POLICY), need: Need::HereOrDefault, doc: "What rollguard may do by itself." },
            optional("watch", span(10_000, 7 * DAY), "How long a release is judged, and a rollback watched."),
            optional("page_after", span(1_000, DAY), "How long evidence too weak for a rollback must last before it pages."),
            optional("cool_down", span(0, 7 * DAY), "After a rollback none is started automatically for so long."),
            optional("max_per_day", COUNT, "Rollbacks of the service by itself within 24 hours."),
            optional("freeze", Shape::Maps(FREEZE), "Times in which only a person rolls back."),
            optional("approval_expires", span(60_000, DAY), "How long an approval may be given."),
            optional("rollout_deadline", span(10_000, DAY), "Longest wait for the rollout of a rollback until somebody is paged."),
            optional("together", BOOL, "Whether targets that were released together are rolled back together."),
            optional("gitops", GITOPS, "What is done about Argo CD or Flux when it would undo a rollback."),
            optional("rules", Shape::Maps(RULE), "Thresholds of the runbook and what measures them."),
            optional("alerts", Shape::Map(ALERTS), "Which alerts are about this service."),
            optional("alarms", Shape::Texts, "Names of CloudWatch alarms about this service; name* for all that begin so."),
            optional("judging", Shape::Map(JUDGING), "How a watch judges; the defaults are good."),
            optional("verify", Shape::Map(VERIFY), "What proves that a rollback worked."),
        ]
    };
}

pub(super) const SERVICE: &[Field] = &service_keys!(
    required("name", NAME, "The service's name."),
    required("targets", Shape::Maps(TARGET), "What can be rolled back.")
);

pub(super) const DEFAULTS: &[Field] = &service_keys!();

const TARGET: &[Field] = &[
    required("name", NAME, "The target's name."),
    optional(
        "policy",
        leaf(MODES),
        "What rollguard may do here at most, whatever the service's policy says.",
    ),
    optional("min_version", leaf(Leaf::Version), "Automation does not go back behind this version."),
    optional("infrastructure", Shape::Map(INFRASTRUCTURE), "A folder of Terraform or OpenTofu."),
    optional("kubernetes", Shape::Map(WORKLOAD), "A Kubernetes workload."),
    optional("database", Shape::Map(DATABASE), "A Postgres whose schema is migrated."),
    optional("frontend", Shape::Map(FRONTEND), "Files in an S3 bucket, behind CloudFront."),
];

const WORKLOAD: &[Field] = &[
    optional("namespace", leaf(Leaf::KubernetesName), "Its namespace, default unless said otherwise."),
    optional("deployment", leaf(Leaf::KubernetesName), "The Deployment's name."),
    optional("statefulset", leaf(Leaf::KubernetesName), "The StatefulSet's name."),
    optional("daemonset", leaf(Leaf::KubernetesName), "The DaemonSet's name."),
    optional(
        "service",
        leaf(Leaf::KubernetesName),
        "The Service in front of it, whose endpoints are watched.",
    ),
];

const RULE: &[Field] = &[
    required("name", NAME, "The rule's name, as reasons and recordings show it."),
    optional("errors", Shape::Map(ERRORS), "Failed requests over all requests."),
    optional("latency", Shape::Map(LATENCY), "Response time against what it was before."),
    optional("value", Shape::Map(VALUE), "Any other number that must not be past a bound."),
    optional("logs", Shape::Map(LOGS), "Error lines in the pods' logs, per minute and pod."),
    optional("http", Shape::Map(HTTP_RULE), "A GET that must answer as expected."),
    optional(
        "journey",
        Shape::Map(JOURNEY_RULE),
        "Several requests in a row that must be answered as expected.",
    ),
    optional(
        "tls",
        Shape::Map(TLS),
        "A certificate that must be valid for some time; it is told, never rolled back for.",
    ),
];

const ERRORS: &[Field] = &[
    required("above", share(1.0), "The share of failed requests that is too much."),
    optional("source", SOURCE, "Where it is read; may be left out if only one source is configured."),
    optional("namespace", TEXT, "For cloudwatch: the namespace of both metrics, such as AWS/ApplicationELB."),
    optional("dimensions", Shape::Dimensions, "For cloudwatch: the dimensions of both metrics, all of them."),
    required("total", SELECTOR, "Counter of all requests; for cloudwatch a metric's name."),
    required("bad", SELECTOR, "Counter of failed requests; for cloudwatch a metric's name."),
];

const LATENCY: &[Field] = &[
    required("increase", share(100.0), "How much slower is too slow."),
    optional("source", SOURCE, "Where it is read; may be left out if only one source is configured."),
    required("histogram", SELECTOR, "The histogram, without _bucket."),
];

const VALUE: &[Field] = &[
    required("series", SELECTOR, "The series, as a plain selector; for cloudwatch a metric's name."),
    optional("source", SOURCE, "Where it is read; may be left out if only one source is configured."),
    optional("namespace", TEXT, "For cloudwatch: the metric's namespace, such as AWS/RDS."),
    optional("dimensions", Shape::Dimensions, "For cloudwatch: the metric's dimensions, all of them."),
    optional("statistic", TEXT, "For cloudwatch: what of each minute counts, such as p95, Sum or Maximum."),
    optional("scale", NUMBER, "For cloudwatch: what the statistic is multiplied by."),
    optional("above", NUMBER, "More than this is too much."),
    optional("below", NUMBER, "Less than this is too little."),
    optional("increase", share(100.0), "How much more than before the release is too much."),
    optional("for", span(1_000, DAY), "How long it must be past the bound without interruption."),
    optional(
        "combine",
        leaf(Leaf::Choice(&["max", "min", "sum", "mean"])),
        "How several series of one pod become one value; the worst counts unless said otherwise.",
    ),
    optional("rate", BOOL, "Whether the series are counters, of which the growth per second is judged."),
    optional(
        "pods",
        BOOL,
        "Whether the series are those of the target's pods; false for a database beside them.",
    ),
];

const LOGS: &[Field] = &[
    optional("error", TEXT, "Regular expression of error lines; the usual levels unless said otherwise."),
    optional("above", NUMBER, "More error lines per minute and pod than this are too many."),
    optional("increase", share(100.0), "How many more than before the release are too many."),
    optional("for", span(1_000, DAY), "How long it must be past the bound without interruption."),
    optional("container", TEXT, "Whose log it is, for pods with several containers."),
    optional("show_lines", BOOL, "Whether messages show a line of each new kind, and not only its pattern."),
];

const FREEZE: &[Field] = &[
    required("cron", TEXT, "When it begins: minute, hour, day of the month, month, day of the week."),
    required("duration", span(60_000, 31 * DAY), "How long it lasts."),
    optional("time_zone", TEXT, "The time zone of cron, such as Europe/Berlin; UTC without it."),
    optional("reason", TEXT, "Why, for the messages."),
];

const ALERTS: &[Field] = &[
    required("match", Shape::Labels, "Labels that an alert about this service has."),
    optional("severities", Shape::Texts, "Values of the label severity that count."),
    optional("corroborate", BOOL, "Roll back for an alert only together with a signal of our own."),
];

const JUDGING: &[Field] = &[
    optional("batch", span(1_000, HOUR), "Length of a statistical batch."),
    optional("never_ready_after", span(1_000, DAY), "A new pod that never became ready by then is failing."),
    optional("unready_after", span(1_000, DAY), "A pod that lost its readiness for so long is failing."),
    optional("start_failure_after", span(1_000, DAY), "A pod that cannot start for so long is failing."),
    optional("blind_after", span(1_000, DAY), "A rule without data for so long pages."),
    optional("settle", span(1_000, 7 * DAY), "Before this no watch ends healthy."),
    optional(
        "warm_up",
        span(0, HOUR),
        "A new pod's response times are not judged for so long after it is ready.",
    ),
    optional(
        "late_onset",
        leaf(Leaf::Choice(&["page", "rollback"])),
        "What is done about trouble that begins after the rollout, with no old pods beside.",
    ),
    optional("end_when_healthy", BOOL, "Whether a watch ends as soon as the release is proven healthy."),
];

const VERIFY: &[Field] = &[
    optional("deadline", span(1_000, DAY), "By then all checks must have passed."),
    optional("checks", Shape::Maps(CHECK), "The checks, each retried until it passes."),
];

pub(super) const CHECK: &[Field] = &[
    required("name", TEXT, "The check's name for people."),
    optional("http", Shape::Map(HTTP), "A GET that answers as expected."),
    optional("journey", Shape::Map(JOURNEY), "Several requests in a row that are answered as expected."),
    optional("tls", Shape::Map(TLS), "A certificate that is valid for some time."),
    optional("version", Shape::Map(VERSION), "A GET that answers with the restored version."),
    optional("pods_ready", Shape::Map(&[]), "All pods ready, none restarted."),
    optional("endpoints_ready", Shape::Map(&[]), "The Service sends requests to all ready pods."),
    optional(
        "frontend_served",
        Shape::Map(&[]),
        "The public gets the index page and all it refers to as restored.",
    ),
    optional("error_rate", Shape::Map(ERROR_RATE), "Failed requests of the last minute."),
    optional("latency_p95", Shape::Map(LATENCY_P95), "95th percentile of the last minute."),
    optional("throughput", Shape::Map(THROUGHPUT), "Requests per second against before the release."),
    optional("no_active_alerts", Shape::Map(&[]), "Alertmanager shows no active alert of this service."),
    optional("sql", Shape::Map(SQL), "A database of this service answers a query."),
    optional("redis", Shape::Map(REDIS), "A Redis answers PING."),
];

macro_rules! with_wanted {
    ($($own:expr),*) => {
        [
            $($own,)*
            optional("status", Shape::Some(Leaf::Status), "The status it must answer with: one, several, or a class such as 2xx."),
            optional("json", Shape::SomeMaps(JSON), "Values that the JSON answer must hold."),
            optional("text", Shape::Some(Leaf::Text), "Text that the answer must contain."),
            optional("matches", Shape::Some(Leaf::Pattern), "A regular expression that the answer must match."),
            optional("header", Shape::SomeMaps(HEADER), "Headers that the answer must have."),
            optional("within", span(1, 60), "How soon the whole answer must be there."),
        ]
    };
}

const HTTP_URL: Field = required("url", URL, "What to GET.");
const HTTP_TIMEOUT: Field = optional("timeout", span(100, 10), "Longest wait for the answer.");
const EVERY: Field = optional("every", span(1_000, HOUR), "How often it is asked while a release is fresh.");
const FAILING_FOR: Field =
    optional("failing_for", span(1_000, DAY), "How long it must fail, three times at least.");

const HTTP: &[Field] = &with_wanted!(HTTP_URL, HTTP_TIMEOUT);

const HTTP_RULE: &[Field] = &with_wanted!(HTTP_URL, HTTP_TIMEOUT, EVERY, FAILING_FOR);

const JSON: &[Field] = &[
    required("pointer", leaf(Leaf::Pointer), "Where the value is, as a JSON pointer."),
    optional("equals", Shape::Any, "What it must be."),
    optional("matches", leaf(Leaf::Pattern), "A regular expression that it must match as text."),
];

const HEADER: &[Field] = &[
    required("name", TEXT, "The header's name."),
    optional("equals", TEXT, "What it must be."),
    optional("matches", leaf(Leaf::Pattern), "A regular expression that it must match."),
];

const STEPS: Field = required("steps", Shape::Maps(STEP), "The requests, in this order.");
const SECRETS: Field =
    optional("secrets", Shape::Secrets, "What the steps may use as ${name}, and no text ever shows.");
const JOURNEY_TIMEOUT: Field = optional("timeout", span(100, 20), "Longest wait for all steps together.");
const JOURNEY_EVERY: Field = optional(
    "every",
    span(1_000, HOUR),
    "How often it is sent at most, while a release is fresh or after a rollback.",
);

const JOURNEY: &[Field] = &[STEPS, SECRETS, JOURNEY_TIMEOUT, JOURNEY_EVERY];

const JOURNEY_RULE: &[Field] = &[
    STEPS,
    SECRETS,
    JOURNEY_TIMEOUT,
    JOURNEY_EVERY,
    FAILING_FOR,
    optional("at_rest", span(10_000, DAY), "How often it is sent while nothing is released."),
];

const STEP: &[Field] = &with_wanted!(
    required("url", URL, "Where it is sent; ${names} may stand in the path and in the query."),
    optional(
        "method",
        leaf(Leaf::Choice(&["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])),
        "GET unless said otherwise."
    ),
    optional("headers", Shape::Headers, "Request headers, with ${names} in their values."),
    optional("body", Shape::Map(BODY), "What is sent."),
    optional(
        "capture",
        Shape::Named(CAPTURE),
        "What later steps may use of the answer, by the names they use."
    )
);

const BODY: &[Field] = &[
    optional("json", Shape::Any, "As JSON, with ${names} in its texts."),
    optional("form", Shape::Form, "As a form."),
    optional("text", TEXT, "As it is."),
];

const CAPTURE: &[Field] = &[
    optional("json", leaf(Leaf::Pointer), "The value at a JSON pointer."),
    optional("header", TEXT, "The value of a header."),
    optional("regex", leaf(Leaf::Pattern), "What the first group matches, or all of it."),
];

const TLS: &[Field] = &[
    required("url", URL, "Host and port where the certificate is shown, such as https://shop.example.com."),
    optional("valid_for", span(1_000, 400 * DAY), "For how long it must still be valid."),
    HTTP_TIMEOUT,
];

const VERSION: &[Field] = &[
    required("url", URL, "What to GET."),
    optional(
        "pointer",
        leaf(Leaf::Pointer),
        "Where the version is in a JSON answer; anywhere in the text without it.",
    ),
];

const ERROR_RATE: &[Field] = &[required("below", share(1.0), "The share it must stay under.")];

const LATENCY_P95: &[Field] = &[required("below", span(1, HOUR), "The time it must stay under.")];

const THROUGHPUT: &[Field] =
    &[required("at_least", share(1.0), "Share of the requests before the release that must be back.")];
