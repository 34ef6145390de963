//! The same for programs that have flags of their own and not all settings.

use std::path::PathBuf;

use super::fault::Problem;
use super::pem::TlsIdentity;
use super::reach::{
    ClusterConfig, ClusterPubSub, HostPort, REDIS_PORT, RedisReach, RedisTlsConfig, SENTINEL_PORT,
    SentinelConfig, servers,
};
use super::{Secret, table};

/// Flags that say how Redis is reached beyond its URL. The variables are the service's; an empty text is no value.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RedisReachArgs {
    /// Sentinels to ask for the master, HOST:PORT separated by commas; the URL's host does not count then.
    #[arg(long, value_name = "LIST", env = "WEBSOCKET_SERVICE_REDIS_SENTINELS")]
    redis_sentinels: Option<String>,
    /// Name of the master that the sentinels watch.
    #[arg(long, value_name = "NAME", env = "WEBSOCKET_SERVICE_REDIS_SENTINEL_MASTER")]
    #[arg(default_value = table::DEFAULT_MASTER)]
    redis_sentinel_master: String,
    /// User at the sentinels, where they have one besides the default user.
    #[arg(long, value_name = "NAME", env = "WEBSOCKET_SERVICE_REDIS_SENTINEL_USER")]
    redis_sentinel_user: Option<String>,
    /// File with the password at the sentinels; read anew at each connect.
    #[arg(long, value_name = "FILE", env = "WEBSOCKET_SERVICE_REDIS_SENTINEL_PASSWORD_FILE")]
    redis_sentinel_password_file: Option<PathBuf>,
    /// Some nodes of a Redis Cluster, HOST:PORT separated by commas; the URL's host does not count then.
    #[arg(long, value_name = "LIST", env = "WEBSOCKET_SERVICE_REDIS_CLUSTER_NODES")]
    redis_cluster_nodes: Option<String>,
    /// PEM file of the authorities to trust instead of the system's; read anew at each connect.
    #[arg(long, value_name = "FILE", env = "WEBSOCKET_SERVICE_REDIS_TLS_CA_FILE")]
    redis_tls_ca_file: Option<PathBuf>,
    /// PEM file of the client certificate's chain, leaf first; read anew at each connect.
    #[arg(long, value_name = "FILE", env = "WEBSOCKET_SERVICE_REDIS_TLS_CERTIFICATE_FILE")]
    redis_tls_certificate_file: Option<PathBuf>,
    /// PEM file of the client certificate's key; read anew at each connect.
    #[arg(long, value_name = "FILE", env = "WEBSOCKET_SERVICE_REDIS_TLS_KEY_FILE")]
    redis_tls_key_file: Option<PathBuf>,
}

impl RedisReachArgs {
    /// What they say together.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub fn reach(&self) -> Result<RedisReach, String> {
        let file = |path: &Option<PathBuf>| {
            path.clone().filter(|path| !path.as_os_str().is_empty()).map(Secret::File)
        };
        let servers = list("--redis-sentinels", &self.redis_sentinels, SENTINEL_PORT)?;
        let sentinel = servers.map(|servers| SentinelConfig {
            servers,
            master: self.redis_sentinel_master.clone(),
            user: given(&self.redis_sentinel_user),
            password: file(&self.redis_sentinel_password_file),
        });
        let nodes = list("--redis-cluster-nodes", &self.redis_cluster_nodes, REDIS_PORT)?;
        if sentinel.is_some() && nodes.is_some() {
            return Err("give --redis-sentinels or --redis-cluster-nodes, whichever there are".to_owned());
        }
        // What publishes through Redis has a flag of its own for the other way.
        let cluster = nodes.map(|nodes| ClusterConfig { nodes, pubsub: ClusterPubSub::default() });
        let identity = match (file(&self.redis_tls_certificate_file), file(&self.redis_tls_key_file)) {
            (Some(certificate), Some(key)) => Some(TlsIdentity { certificate, key }),
            (None, None) => None,
            _ => {
                return Err(
                    "give --redis-tls-certificate-file and --redis-tls-key-file, or neither".to_owned()
                );
            }
        };
        let tls = RedisTlsConfig { authorities: file(&self.redis_tls_ca_file), identity };
        Ok(RedisReach { sentinel, cluster, tls })
    }
}

fn given(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

fn list(flag: &str, text: &Option<String>, port: u16) -> Result<Option<Vec<HostPort>>, String> {
    let told = |fault: Problem| format!("{flag}: {}; {}", fault.problem, fault.remedy);
    given(text).map(|list| servers(&list, port).map_err(told)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_texts_are_no_values() {
        let empty = RedisReachArgs {
            redis_sentinels: Some(String::new()),
            redis_tls_ca_file: Some(PathBuf::new()),
            redis_tls_key_file: Some(PathBuf::new()),
            ..RedisReachArgs::default()
        };
        let reach = empty.reach().expect("sound");
        assert!(reach.sentinel.is_none() && reach.tls.authorities.is_none() && reach.tls.identity.is_none());
    }

    #[test]
    fn faults_name_the_flag() {
        let sentinels =
            RedisReachArgs { redis_sentinels: Some("a:b".to_owned()), ..RedisReachArgs::default() };
        assert!(sentinels.reach().expect_err("no port").starts_with("--redis-sentinels: \"a:b\""));
        let node =
            RedisReachArgs { redis_cluster_nodes: Some("a:b".to_owned()), ..RedisReachArgs::default() };
        assert!(node.reach().expect_err("no port").starts_with("--redis-cluster-nodes: \"a:b\""));
        let both = RedisReachArgs {
            redis_sentinels: Some("a".to_owned()),
            redis_cluster_nodes: Some("a".to_owned()),
            ..RedisReachArgs::default()
        };
        assert!(both.reach().expect_err("both").contains("or --redis-cluster-nodes"));
        let key = RedisReachArgs { redis_tls_key_file: Some("key.pem".into()), ..RedisReachArgs::default() };
        assert!(key.reach().expect_err("alone").contains("--redis-tls-certificate-file"));
    }
}
