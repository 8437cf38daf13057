//! The keys of databases, as targets and in checks.
use super::{
    BOOL, DAY, Field, HOUR, Leaf, NAME, PATH, POSTGRES_TLS, Shape, TEXT, URL, leaf, optional, required, span,
};

pub(super) const DATABASE: &[Field] = &[
    required("url", Shape::Secret, "postgres://user:password@host:5432/database, of a user who may migrate."),
    optional("tls", Shape::Map(POSTGRES_TLS), "How the connection is encrypted."),
    optional(
        "migrations",
        PATH,
        "Directory of the migrations of the release that runs, as golang-migrate lays them out; {version} is the schema's version.",
    ),
    optional(
        "table",
        TEXT,
        "golang-migrate's table, with its schema before a dot; schema_migrations unless set.",
    ),
    optional(
        "version_query",
        TEXT,
        "A query for the version, where golang-migrate is not used; then it is only watched.",
    ),
    optional("interval", span(1_000, HOUR), "How often the version is looked at; 10s."),
    optional(
        "runner",
        leaf(Leaf::Choice(&["rollguard", "migrate"])),
        "Who runs the scripts; rollguard unless set.",
    ),
    optional(
        "program",
        PATH,
        "golang-migrate's program, for runner: migrate; /usr/local/bin/migrate unless set.",
    ),
    optional("multi_statement", BOOL, "Each statement of a script by itself, as with x-multi-statement."),
    optional("script_timeout", span(1_000, DAY), "Longest time of one script; 10m."),
    optional(
        "lock_timeout",
        span(1_000, HOUR),
        "Longest wait for a lock, of another migrator or of a table; 15s.",
    ),
    optional("verify", Shape::Maps(SCHEMA_QUERY), "Queries that must hold after a rollback."),
    optional(
        "rds",
        Shape::Map(RDS),
        "Its RDS instance, of which a snapshot is taken before anything is changed.",
    ),
    optional(
        "compatible_with",
        Shape::Maps(COMPATIBLE_WITH),
        "Which versions of other targets run on which schema.",
    ),
];

const SCHEMA_QUERY: &[Field] = &[
    required("name", TEXT, "The query's name for people."),
    required("query", TEXT, "SQL; the first value of its first row counts."),
    optional("expect", TEXT, "What that value must be as text; without it anything but false and null."),
];

const RDS: &[Field] = &[
    required("instance", TEXT, "The instance's identifier."),
    required("region", TEXT, "Its region."),
    optional("profile", TEXT, "Profile of ~/.aws/config; without it the usual chain of credentials."),
    optional("endpoint", URL, "Where RDS is reached, such as a VPC endpoint."),
    optional("timeout", span(100, 30), "Longest wait for an answer; 5s."),
    optional("snapshot_timeout", span(60_000, DAY), "Longest wait for a snapshot; 2h."),
];

const COMPATIBLE_WITH: &[Field] = &[
    required("target", NAME, "Another target of this service."),
    required("versions", TEXT, "Its version, or the beginning of one with * at the end."),
    optional("from", leaf(Leaf::Version), "The oldest schema that these run on."),
    optional("to", leaf(Leaf::Version), "The newest schema that these run on."),
];

pub(super) const SQL: &[Field] = &[
    optional("target", NAME, "Which database; may be left out if the service has one."),
    optional("query", TEXT, "SQL; the first value of its first row counts. SELECT 1 unless set."),
    optional("expect", TEXT, "What that value must be as text; without it anything but false and null."),
];

pub(super) const REDIS: &[Field] = &[
    required("address", TEXT, "host:port."),
    optional("user", TEXT, "For AUTH, where Redis has users."),
    optional("password", Shape::Secret, "For AUTH."),
    optional("tls", Shape::Map(POSTGRES_TLS), "How the connection is encrypted; not at all without it."),
];
