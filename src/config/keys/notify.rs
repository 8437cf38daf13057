//! The keys below `notify`: who is told, where, and in which words.
use super::{Field, Shape, TEXT, URL, optional, required};

pub(super) const NOTIFY: &[Field] = &[
    optional("slack", Shape::Map(SLACK), "One Slack channel, by a bot or by an incoming webhook."),
    optional("pagerduty", Shape::Map(PAGERDUTY), "Pages through PagerDuty's Events API v2."),
    optional("opsgenie", Shape::Map(OPSGENIE), "Pages through Opsgenie, which ends in April 2027."),
    optional("statuspage", Shape::Map(STATUSPAGE), "The public status page, in your own words only."),
    optional(
        "github",
        Shape::Map(GITHUB),
        "Deployment statuses: the bad one failed, the rollback is one of its own.",
    ),
    optional("webhook", Shape::Map(WEBHOOK), "A webhook of your own; each request is signed."),
    optional("templates", Shape::Map(TEMPLATES), "Announcements in your own words, as Jinja templates."),
];

const SLACK: &[Field] = &[
    optional("webhook_url", Shape::Secret, "An incoming webhook; whoever has it can post."),
    optional(
        "bot_token",
        Shape::Secret,
        "A bot's token (xoxb-…) with the scope chat:write: threads, edits and buttons.",
    ),
    optional("channel", TEXT, "For the bot: the channel's id such as C0123ABCD, or its name."),
    optional("url", URL, "For the bot: base of the Web API, https://slack.com/api unless set."),
];

const PAGERDUTY: &[Field] = &[
    required("routing_key", Shape::Secret, "The integration key of a service (Events API v2)."),
    optional("url", URL, "https://events.pagerduty.com unless set; the EU has its own."),
];

const OPSGENIE: &[Field] = &[
    required("api_key", Shape::Secret, "The key of an API integration."),
    optional("url", URL, "https://api.opsgenie.com unless set; the EU has its own."),
];

const STATUSPAGE: &[Field] = &[
    required("api_key", Shape::Secret, "An API key of your Statuspage account."),
    required("page", TEXT, "The page's id."),
    optional("components", Shape::Texts, "Ids of the components that are affected by an incident."),
    optional("title", TEXT, "What everybody reads above an incident."),
    optional("identified", TEXT, "When a rollback has begun."),
    optional("monitoring", TEXT, "When it is verified."),
    optional("resolved", TEXT, "When the watch after it ended well."),
    optional("url", URL, "Base of the API, https://api.statuspage.io/v1 unless set."),
];

const GITHUB: &[Field] = &[
    required("token", Shape::Secret, "A token that may write deployments of these repositories."),
    required("repositories", Shape::Labels, "OWNER/NAME of each service that has one."),
    optional("environment", TEXT, "The deployments' environment, production unless set."),
    optional("url", URL, "https://api.github.com unless set; https://HOST/api/v3 for a server of your own."),
];

const WEBHOOK: &[Field] = &[
    required("url", Shape::Secret, "Where messages are posted."),
    required("secret", Shape::Secret, "Key of the HMAC-SHA256 signature, at least 16 characters."),
];

const TEMPLATES: &[Field] = &[
    optional("action", TEXT, "A rollback begins."),
    optional("complete", TEXT, "It is verified."),
    optional("failed", TEXT, "It is stuck, not verified, or did not help."),
];
