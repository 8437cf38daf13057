//! Replicas that take turns: what may be said of the lease, and where it belongs.
use std::time::Duration;

use rollguard::config::{Changes, LeadershipConfig};
use rollguard::domain::lease::LeaseTimes;

use super::{example, minimal, problems, read};

const SHARED: &str = "journal: {postgres: {url_env: ROLLGUARD_POSTGRES_URL, tls: {mode: disable}}}\n";

fn lease(lease: &str) -> String {
    minimal("", &format!("{SHARED}leadership: {{lease: {{{lease}}}}}\n"))
}

#[test]
fn the_defaults_are_those_of_kubernetes_own_controllers() {
    let usual = read(&lease("")).unwrap().config.leadership.unwrap();
    let [duration, renew_deadline, retry] = [15, 10, 2].map(Duration::from_secs);
    let times = LeaseTimes { duration, renew_deadline, retry };
    assert_eq!(usual, LeadershipConfig { namespace: None, name: "rollguard".into(), times });
    let own = read(&lease("namespace: ops, name: guard, duration: 60s")).unwrap().config.leadership.unwrap();
    let times = LeaseTimes { duration: Duration::from_secs(60), ..times };
    assert_eq!(own, LeadershipConfig { namespace: Some("ops".into()), name: "guard".into(), times });
    assert_eq!(read(&minimal("", "")).unwrap().config.leadership, None);
}

#[test]
fn times_that_would_let_two_lead_are_mistakes() {
    let told = problems(&lease("renew_deadline: 15s"));
    assert!(
        told.contains("config.yaml:6:38: error: renew_deadline: not shorter than the duration (15s)"),
        "{told}"
    );
    let told = problems(&lease("retry: 6s"));
    assert!(told.contains("retry: longer than half of renew_deadline (10s)"), "{told}");
    let told = problems(&lease("durtion: 20s"));
    assert!(told.contains("unknown key \"durtion\": did you mean \"duration\"?"), "{told}");
}

#[test]
fn replicas_take_turns_where_they_share_a_journal_and_only_there() {
    let alone = problems(&minimal("", "leadership: {lease: {}}\n"));
    assert!(
        alone.contains("config.yaml:5:1: error: leadership: the journal in state_dir belongs to one daemon"),
        "{alone}"
    );
    let shared = problems(&minimal("", SHARED));
    assert!(
        shared.contains("config.yaml:5:1: error: journal: several daemons may write in this Postgres"),
        "{shared}"
    );
}

#[test]
fn the_lease_does_not_change_while_it_may_be_held() {
    let old = example();
    let mut new = old.clone();
    new.leadership = None;
    assert_eq!(Changes::between(&old, &new).needs_restart, ["leadership"]);
}
