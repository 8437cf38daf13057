//! ECR says whether an image is there; what it does not say is not known.
use std::time::Duration;

use rollguard::adapters::registry::{EcrAccess, EcrRegistry};
use rollguard::domain::surroundings::Presence;
use rollguard::ports::ImageRegistry;
use serde_json::json;

use crate::support::moto::Moto;

/// moto's own.
const HOST: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";

fn registry(moto: &Moto) -> EcrRegistry {
    let (endpoint, timeout) = (Some(moto.url().to_owned()), Duration::from_secs(10));
    EcrRegistry::new(EcrAccess { profile: None, endpoint, timeout })
}

/// Pushes `shop:v1` and answers with its digest.
async fn push(moto: &Moto) -> String {
    moto.ecr("CreateRepository", json!({ "repositoryName": "team/shop" })).await;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": { "mediaType": "application/vnd.docker.container.image.v1+json", "size": 1,
                    "digest": format!("sha256:{}", "a".repeat(64)) },
        "layers": [],
    });
    let image =
        json!({ "repositoryName": "team/shop", "imageManifest": manifest.to_string(), "imageTag": "v1" });
    let pushed = moto.ecr("PutImage", image).await;
    pushed["image"]["imageId"]["imageDigest"].as_str().unwrap().to_owned()
}

#[tokio::test]
#[ignore = "tests/run aws"]
async fn an_image_is_there_or_gone() {
    let moto = Moto::start().await;
    let digest = push(&moto).await;
    let registry = registry(&moto);
    for (image, presence) in [
        ("team/shop:v1".to_owned(), Presence::There),
        (format!("team/shop@{digest}"), Presence::There),
        (format!("team/shop:moved@{digest}"), Presence::There),
        ("team/shop:v0".to_owned(), Presence::Gone),
        (format!("team/shop@sha256:{}", "b".repeat(64)), Presence::Gone),
        ("team/cart:v1".to_owned(), Presence::Gone),
    ] {
        assert_eq!(registry.presence(&format!("{HOST}/{image}")).await, presence, "{image}");
    }
}

#[tokio::test]
#[ignore = "tests/run aws"]
async fn what_was_there_is_not_asked_again_and_what_was_gone_is() {
    let moto = Moto::start().await;
    let image = format!("{HOST}/team/shop:v1");
    let registry = registry(&moto);
    assert_eq!(registry.presence(&image).await, Presence::Gone);
    push(&moto).await;
    assert_eq!(registry.presence(&image).await, Presence::There, "pushed meanwhile");
    let gone = json!({ "repositoryName": "team/shop", "imageIds": [{ "imageTag": "v1" }] });
    moto.ecr("BatchDeleteImage", gone).await;
    assert_eq!(registry.presence(&image).await, Presence::There, "remembered for an hour");
    assert_eq!(self::registry(&moto).presence(&image).await, Presence::Gone);
}

#[tokio::test]
#[ignore = "tests/run aws"]
async fn what_nobody_can_say_is_unknown() {
    let mut moto = Moto::start().await;
    let registry = registry(&moto);
    let unknown = async |image: &str| match registry.presence(image).await {
        Presence::Unknown { why } => why,
        other => panic!("{image}: {other:?}"),
    };
    assert_eq!(unknown("ghcr.io/shop/backend:v1").await, "it is not in ECR, and no other registry is asked");
    moto.stop();
    let why = unknown(&format!("{HOST}/team/shop:v1")).await;
    assert!(why.starts_with("ECR: "), "{why}");
}
