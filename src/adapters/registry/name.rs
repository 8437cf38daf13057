//! Names of images in ECR: whose registry, where, which repository, and which image of it.

/// `ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY[:TAG|@DIGEST]`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EcrImage {
    pub(super) account: String,
    pub(super) region: String,
    pub(super) repository: String,
    pub(super) reference: Reference,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    Tag(String),
    Digest(String),
}

impl EcrImage {
    /// `None` for an image of another registry.
    pub(super) fn parse(image: &str) -> Option<Self> {
        let (host, path) = image.split_once('/')?;
        let host = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
        let (account, region) = host.split_once(".dkr.ecr.").or_else(|| host.split_once(".dkr.ecr-fips."))?;
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let is_region = !region.is_empty() && !region.contains('.');
        if !is_account || !is_region || path.is_empty() {
            return None;
        }
        // A digest is exact, so a tag before it says nothing more. The path holds no port, so a colon begins a tag.
        let (name, digest) = path.split_once('@').map_or((path, None), |(name, d)| (name, Some(d)));
        let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
        let reference = match digest {
            Some(digest) => Reference::Digest(digest.to_string()),
            None => Reference::Tag(tag.to_string()),
        };
        let (account, region) = (account.to_string(), region.to_string());
        Some(Self { account, region, repository: repository.to_string(), reference })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ecr_are_taken_apart_and_others_are_not() {
        let host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
        let read = |path: &str| {
            let image = EcrImage::parse(&format!("{host}/{path}")).unwrap();
            assert_eq!((image.account.as_str(), image.region.as_str()), ("123456789012", "eu-central-1"));
            (image.repository, image.reference)
        };
        let (tag, digest) = (|t: &str| Reference::Tag(t.into()), |d: &str| Reference::Digest(d.into()));
        assert_eq!(read("team/shop:v1"), ("team/shop".into(), tag("v1")));
        assert_eq!(read("shop"), ("shop".into(), tag("latest")));
        assert_eq!(read("shop@sha256:ab"), ("shop".into(), digest("sha256:ab")));
        assert_eq!(read("shop:v1@sha256:ab"), ("shop".into(), digest("sha256:ab")));
        for region in ["us-gov-west-1.amazonaws.com", "cn-north-1.amazonaws.com.cn"] {
            assert!(EcrImage::parse(&format!("123456789012.dkr.ecr-fips.{region}/shop:v1")).is_some());
        }
        let others = ["shop:v1", "docker.io/library/shop:v1", "public.ecr.aws/shop:v1", "localhost:5000/a"];
        for other in others.map(str::to_string).into_iter().chain([
            format!("evil.{host}/shop:v1"),
            format!("{host}.example.com/shop:v1"),
            format!("{host}/"),
        ]) {
            assert_eq!(EcrImage::parse(&other), None, "{other}");
        }
    }
}
