//! Builds the client: where the API server is, who we are there, and how long we wait for it.
use std::path::PathBuf;
use std::time::Duration;

use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::ClusterAccess;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a watch may be silent (see `feed`), so that only a server that hangs is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// A client must have an address. Nobody listens at this one.
const NOWHERE: &str = "http://127.0.0.1:1";

#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error(
        "no cluster was found: run inside one with a service account, set KUBECONFIG, or name a kubeconfig in the configuration"
    )]
    NoCluster(#[source] Box<InferConfigError>),
    #[error("kubeconfig {path} cannot be used{context}: check the file and its contexts with `kubectl config view`", path = path.display())]
    Kubeconfig { path: PathBuf, context: String, source: Box<KubeconfigError> },
    #[error("the URL of the cluster is not valid: write it like https://host:6443")]
    Url,
    #[error("the client for the cluster could not be set up: check its certificates and credentials")]
    Client(#[source] Box<kube::Error>),
}

pub(super) async fn client(access: &ClusterAccess) -> Result<Client, AccessError> {
    let mut config = config(access).await?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.write_timeout = Some(WRITE_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    // A patch is never sent twice behind the driver's back, and the watches have a back-off of their own.
    config.default_retry = false;
    Client::try_from(config).map_err(|source| AccessError::Client(Box::new(source)))
}

async fn config(access: &ClusterAccess) -> Result<Config, AccessError> {
    match access {
        ClusterAccess::Inferred => {
            Config::infer().await.map_err(|source| AccessError::NoCluster(Box::new(source)))
        }
        ClusterAccess::Url(url) => {
            let config = url.parse().map(Config::new).map_err(|_| AccessError::Url)?;
            let scheme = config.cluster_url.scheme_str();
            if matches!(scheme, Some("http" | "https")) { Ok(config) } else { Err(AccessError::Url) }
        }
        ClusterAccess::Absent => NOWHERE.parse().map(Config::new).map_err(|_| AccessError::Url),
        ClusterAccess::Kubeconfig { path, context } => {
            let failed = |source| AccessError::Kubeconfig {
                path: path.clone().unwrap_or_else(|| "of KUBECONFIG or ~/.kube/config".into()),
                context: context.as_ref().map(|c| format!(" with context {c:?}")).unwrap_or_default(),
                source: Box::new(source),
            };
            let read = path.as_ref().map_or_else(Kubeconfig::read, Kubeconfig::read_from);
            let kubeconfig = read.map_err(failed)?;
            let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(failed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    const KUBECONFIG: &str = r#"
apiVersion: v1
kind: Config
clusters: [{name: one, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: me, user: {token: t}}]
contexts: [{name: dev, context: {cluster: one, user: me}}]
current-context: dev
"#;

    #[tokio::test]
    async fn a_kubeconfig_is_read_with_its_context() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, KUBECONFIG).unwrap();
        let access = |context: Option<&str>| ClusterAccess::Kubeconfig {
            path: Some(path.clone()),
            context: context.map(str::to_string),
        };
        assert!(client(&access(None)).await.is_ok());
        assert!(client(&access(Some("dev"))).await.is_ok());
        let error = client(&access(Some("prod"))).await.map(drop).unwrap_err();
        assert!(error.to_string().contains("with context \"prod\""), "{error}");
        assert!(error.source().is_some());
    }

    #[tokio::test]
    async fn what_cannot_be_used_says_what_to_do() {
        let missing = ClusterAccess::Kubeconfig { path: Some("does/not/exist".into()), context: None };
        let error = client(&missing).await.map(drop).unwrap_err().to_string();
        assert!(error.contains("does/not/exist") && error.contains("kubectl config view"), "{error}");
        for bad in ["127.0.0.1:6443", "ftp://host", "https://me:hunter2@host:6443 x"] {
            let error = client(&ClusterAccess::Url(bad.into())).await.map(drop).unwrap_err().to_string();
            assert!(error.contains("https://host:6443") && !error.contains("hunter2"), "{error}");
        }
        assert!(client(&ClusterAccess::Url("http://127.0.0.1:1".into())).await.is_ok());
    }
}
