//! Keys about people: who they are, what a policy leaves to them, and how they are asked.
use super::{BOOL, DAY, NAME, TEXT, leaf, optional, required, span};
use crate::config::shape::{Field, Leaf, Shape};

pub(super) const MODES: Leaf = Leaf::Choice(&["auto", "approval", "page", "observe"]);
const ACT: Shape = leaf(Leaf::Choice(&["auto", "approval", "page"]));
const ROLE: Leaf = Leaf::Choice(&["release", "operate", "approve", "break_glass"]);
const KIND: Leaf = Leaf::Choice(&["kubernetes", "frontend", "database", "infrastructure"]);
const SEVERITY: Leaf = Leaf::Count { least: 1, most: 4 };

pub(super) const API: &[Field] = &[
    optional("people", Shape::Maps(PERSON), "People, how they prove who they are, and what they may do."),
    optional("slack", Shape::Map(SLACK_BUTTONS), "Buttons in Slack, which post to /slack/interactions."),
];

const PERSON: &[Field] = &[
    required("name", NAME, "How this person is named in the journal and in messages."),
    optional("token", Shape::Secret, "Bearer token, at least 16 characters."),
    optional("token_sha256", TEXT, "The token's SHA-256 in hexadecimal, instead of the token."),
    optional(
        "roles",
        Shape::Some(ROLE),
        "What this person may do: release, operate and approve unless said otherwise.",
    ),
    optional("groups", Shape::Texts, "Groups that approvals may be asked of."),
    optional("slack", TEXT, "This person's user ID in Slack, such as U024BE7LH."),
];

const SLACK_BUTTONS: &[Field] = &[
    required("team", TEXT, "The workspace's ID, such as T024BE7LD; others are refused."),
    required("signing_secret", Shape::Secret, "The Slack app's signing secret."),
];

pub(super) const POLICY: &[Field] = &[
    optional("lines", Shape::Maps(POLICY_LINE), "Read from top to bottom: the first one that fits decides."),
    required("otherwise", ACT, "What is done where no line fits."),
    optional("observe", BOOL, "Only record what would have been done."),
    optional("hours", Shape::Map(HOURS), "Business hours, for lines with hours."),
    optional(
        "severities",
        Shape::Maps(SEVERITY_LINE),
        "How bad evidence is; the runbook's table where none fits.",
    ),
    optional("approvals", Shape::Map(APPROVALS), "Who approves."),
    optional("nobody_answers", Shape::Maps(UNANSWERED), "What is done while nobody approves or denies."),
    optional(
        "escalate_after",
        span(1_000, DAY),
        "A page that nobody acknowledged by then is sent once more.",
    ),
];

const POLICY_LINE: &[Field] = &[
    optional("evidence", Shape::Some(Leaf::Name), "Kinds of evidence, or names of rules; any unless set."),
    optional("severity", Shape::Some(SEVERITY), "SEV 1 to 4; 1 and 2 unless set, as in the runbook."),
    optional("kind", Shape::Some(KIND), "Kinds of targets; all unless set."),
    optional("hours", leaf(Leaf::Choice(&["inside", "outside"])), "Inside or outside of business hours."),
    required("then", ACT, "What is done."),
];

const SEVERITY_LINE: &[Field] = &[
    required("evidence", Shape::Some(Leaf::Name), "Kinds of evidence, or names of rules."),
    required("severity", leaf(SEVERITY), "SEV 1 is the worst; from SEV 2 on is rolled back."),
];

const HOURS: &[Field] = &[
    optional("days", TEXT, "Such as Mon-Fri, which it is unless set, or Mon,Wed,Sat-Sun."),
    required("from", TEXT, "When the day begins, such as \"09:00\"."),
    required("to", TEXT, "When it ends."),
    optional("time_zone", TEXT, "Such as Europe/Berlin; UTC without it."),
];

const APPROVALS: &[Field] = &[
    optional(
        "needed",
        leaf(Leaf::Count { least: 1, most: 10 }),
        "Different people who must approve; 1 unless set.",
    ),
    optional("from", Shape::Some(Leaf::Text), "Groups or people; everybody who may approve unless set."),
    optional("orders", BOOL, "Whether what a person orders needs others, too; false unless set."),
];

const UNANSWERED: &[Field] = &[
    required("after", span(1_000, DAY), "How long nobody has answered."),
    required(
        "then",
        leaf(Leaf::Choice(&["page_again", "escalate", "rollback", "hold"])),
        "What is done then.",
    ),
];
