//! What other services tell about a release: those that nobody released, and those that trip with it.
use std::time::Duration;

use rollguard::domain::runbook::Judging;
use rollguard::domain::signal::Reading;

use serde_json::json;

use super::town::Town;

fn page_shared() -> Vec<(String, String)> {
    vec![("page".to_string(), "shared".to_string())]
}

fn rollback() -> Vec<(String, String)> {
    vec![("rollback".to_string(), "release".to_string())]
}

/// A town in which shop has been released for a minute, and all was well for ten.
async fn released() -> Town {
    let mut town = Town::of(&["cart", "shop"]).await;
    town.live().await;
    town.run(600).await;
    town.release("shop").await;
    town.run(60).await;
    town
}

#[tokio::test]
async fn an_unreleased_service_that_gets_worse_too_clears_the_release() {
    let mut town = released().await;
    town.service("cart").failing = 0.3;
    town.service("shop").failing = 0.3;
    town.run(120).await;
    assert_eq!(town.decided("shop"), page_shared());
    let told = town.records("shop", "decided")[0]["decided"]["reason"].to_string();
    assert!(told.contains("cart/api, which was not released, got worse at the same time"), "{told}");
    let control = |r: &&Reading| matches!(r, Reading::Control { other, worse_since: Some(_), .. } if other == "cart/api");
    assert_eq!(town.recorded("shop").iter().filter(control).count(), 1);
    town.end().await;
}

#[tokio::test]
async fn a_release_that_alone_gets_worse_is_taken_back() {
    let mut town = released().await;
    town.service("shop").failing = 0.3;
    town.run(120).await;
    assert_eq!(town.decided("shop"), rollback());
    town.end().await;
}

#[tokio::test]
async fn a_new_life_knows_what_was_worse_in_the_last_one() {
    let mut town = released().await;
    town.service("cart").failing = 0.3;
    town.run(20).await;
    town.end().await;
    town.run(3).await;
    // What is measured now says nothing of cart: only the recording does.
    town.service("cart").failing = 0.0;
    town.live().await;
    town.service("shop").failing = 0.3;
    town.run(60).await;
    assert_eq!(town.decided("shop"), page_shared());
    town.end().await;
}

#[tokio::test]
async fn a_new_life_knows_what_is_usual_for_the_others() {
    let mut town = released().await;
    town.end().await;
    town.run(3).await;
    town.live().await;
    town.run(6).await;
    town.service("cart").failing = 0.3;
    town.service("shop").failing = 0.3;
    town.run(60).await;
    assert_eq!(town.decided("shop"), page_shared());
    town.end().await;
}

#[tokio::test]
async fn a_released_service_is_no_control_until_its_watch_is_over() {
    let mut town = released().await;
    town.release("cart").await;
    town.run(60).await;
    town.service("cart").failing = 0.3;
    town.service("shop").failing = 0.3;
    town.run(120).await;
    assert_eq!((town.decided("shop"), town.decided("cart")), (rollback(), rollback()));
    town.end().await;

    let mut town = Town::of(&["cart", "shop"]).await;
    town.live().await;
    town.run(120).await;
    town.release("cart").await;
    town.run(2000).await;
    assert_eq!(town.records("cart", "watch_closed")[0]["end"], "healthy");
    town.release("shop").await;
    town.run(60).await;
    town.service("cart").failing = 0.3;
    town.service("shop").failing = 0.3;
    town.run(120).await;
    assert_eq!((town.decided("shop"), town.decided("cart")), (page_shared(), vec![]));
    town.end().await;
}

#[tokio::test]
async fn a_service_that_always_fails_clears_nobody() {
    // Before the first life, and in it.
    for known in [true, false] {
        let mut town = Town::of(&["cart", "shop"]).await;
        town.service("cart").failing = if known { 0.0 } else { 0.3 };
        town.live().await;
        town.run(600).await;
        town.service("cart").failing = 0.3;
        town.run(600).await;
        town.release("shop").await;
        town.run(60).await;
        town.service("shop").failing = 0.3;
        town.run(120).await;
        assert_eq!(town.decided("shop"), rollback(), "known before: {known}");
        town.end().await;
    }
}

#[tokio::test]
async fn crashes_of_others_make_a_late_crash_loop_a_shared_one() {
    for others in [true, false] {
        let mut town = released().await;
        town.run(600).await;
        if others {
            town.crash("cart").await;
            town.run(6).await;
        }
        town.crash("shop").await;
        town.run(30).await;
        assert_eq!(town.decided("shop"), if others { page_shared() } else { rollback() });
        town.end().await;
    }
}

/// Three of four services are released.
async fn three_released() -> Town {
    let mut town = Town::of(&["cart", "mail", "pay", "shop"]).await;
    town.live().await;
    town.run(120).await;
    for service in ["cart", "mail", "pay"] {
        town.release(service).await;
    }
    town.run(60).await;
    town
}

#[tokio::test]
async fn services_that_trip_together_are_paged_as_shared_by_name() {
    let mut town = three_released().await;
    for service in ["cart", "mail", "pay"] {
        town.service(service).failing = 0.3;
    }
    town.run(60).await;
    assert_eq!(town.decided("cart"), page_shared());
    for service in ["mail", "pay"] {
        let decided = town.records(service, "decided");
        let [only] = &decided[..] else { panic!("{service}: {decided:?}") };
        assert_eq!(
            (&only["decided"]["decision"], &only["decided"]["would"]),
            (&json!("hold"), &json!("page"))
        );
        let barred = only["decided"]["barred"].as_array().unwrap().last().unwrap().as_str().unwrap();
        assert_eq!(barred, "people were paged about all of them, with cart/api");
    }
    let pages = town.messages().await;
    let [page] = &pages[..] else { panic!("one page for all: {pages:?}") };
    assert_eq!(page.title, "[PAGE] cart/api v2 is in trouble together with others: not rolled back [RG303]");
    let line = "Not rolled back: 3 of 3 services under watch tripped within 5 minutes (cart, mail, pay), so what they \
                share is the likelier cause [RG105]";
    assert_eq!(page.lines[1], line);

    // A new life does not do what the last one held back, though cart is alone with it by then.
    town.end().await;
    for service in ["mail", "pay"] {
        town.service(service).failing = 0.0;
    }
    town.live().await;
    town.run(900).await;
    assert_eq!(town.decided("cart"), page_shared());
    town.end().await;
}

#[tokio::test]
async fn what_tripped_before_a_restart_counts_after_it() {
    let mut town = three_released().await;
    town.service("cart").failing = 0.3;
    town.service("mail").failing = 0.3;
    town.run(40).await;
    assert_eq!((town.decided("cart"), town.decided("mail")), (rollback(), rollback()), "two may be chance");
    town.end().await;
    town.run(3).await;
    town.live().await;
    town.run(10).await;
    town.service("pay").failing = 0.3;
    town.run(30).await;
    assert_eq!(town.decided("pay"), page_shared());
    town.end().await;
}

#[tokio::test]
async fn a_watch_that_has_proven_health_ends_then_if_so_configured() {
    for early in [true, false] {
        let standard = Judging::standard(Duration::from_secs(1800));
        let mut town = Town::judging(&["shop"], Judging { end_when_healthy: early, ..standard }).await;
        town.live().await;
        town.run(120).await;
        town.release("shop").await;
        town.run(900).await;
        let ends = town.records("shop", "watch_closed");
        assert_eq!(
            ends.iter().map(|end| &end["end"]).collect::<Vec<_>>(),
            vec!["healthy"; usize::from(early)]
        );
        let good = town.records("shop", "known_good");
        let last = if early { "v2" } else { "v1" };
        assert!(good.last().unwrap()["version"]["label"].as_str().unwrap().ends_with(last), "{good:?}");
        town.end().await;
    }
}

#[tokio::test]
async fn a_watch_that_sees_nothing_pages_and_ends_blind() {
    let mut town = Town::of(&["shop"]).await;
    town.live().await;
    town.run(120).await;
    town.release("shop").await;
    town.service("shop").measured = false;
    town.run(1810).await;
    assert_eq!(town.records("shop", "watch_closed")[0]["end"], "blind");
    assert_eq!(town.records("shop", "known_good").len(), 1, "only the version before");
    assert_eq!(town.messages().await[0].title, "[PAGE] shop/api v2 cannot be judged [RG306]");
    let paging: Vec<bool> = town.records("shop", "paging").iter().map(|p| p["on"] == true).collect();
    assert_eq!(paging, [true, false]);
    town.end().await;
}
