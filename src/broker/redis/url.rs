//! `broker.url`: its forms, and the deployment it describes.

use ::redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};

use crate::broker::redis::connection::server::ServerAddress;
use crate::broker::redis::pubsub::PubSub;

mod parameters;

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Maximum number of sentinels or cluster nodes in the URL.
const ADDRESSES_MAX: usize = 64;

/// The kind of broker, and its address.
#[derive(Clone, Debug)]
pub enum Url {
    /// The memory broker.
    Memory,
    Redis(Deployment),
}

/// The Redis deployment, with its credentials.
#[derive(Clone)]
pub struct Deployment {
    pub masters: Masters,
    pub login: RedisConnectionInfo,
    /// The login at the sentinels. `None`: without a login first, then with `login` where they
    /// require one.
    pub sentinel_login: Option<RedisConnectionInfo>,
    /// All connections use TLS, those to sentinels included.
    pub is_encrypted: bool,
    masked: String,
}

/// How the masters are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Masters {
    /// One server, always at this address.
    Single(ServerAddress),
    /// One server at a time, found through these sentinels.
    Sentinel { sentinels: Vec<ServerAddress>, service: String },
    /// Several servers that share the channels, found through these nodes.
    Cluster { nodes: Vec<ServerAddress> },
}

impl std::fmt::Debug for Deployment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.masked)
    }
}

impl Deployment {
    /// Whether it is a single server without failover.
    pub fn is_single(&self) -> bool {
        matches!(self.masters, Masters::Single(_))
    }

    pub fn pubsub(&self) -> PubSub {
        match self.masters {
            Masters::Cluster { .. } => PubSub::Sharded,
            Masters::Single(_) | Masters::Sentinel { .. } => PubSub::Plain,
        }
    }
}

impl Url {
    /// The accepted forms of the URL.
    pub const FORMS: &str = "memory:, redis://[[user]:password@]host[:port][/db], \
        redis+sentinel://[[user]:password@]host[:port],…/service[/db], \
        or redis+cluster://[[user]:password@]host[:port],…; \
        with TLS rediss://, rediss+sentinel:// or rediss+cluster://";

    /// The error never quotes credentials.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        let forms = || format!("must be {}", Self::FORMS);
        let (scheme, rest) = text.split_once("://").ok_or_else(forms)?;
        let (address, query) = rest.split_once('?').map_or((rest, None), |(a, b)| (a, Some(b)));
        let parsed = match scheme {
            "redis" | "rediss" => single(address),
            "redis+sentinel" | "rediss+sentinel" => sentinel(address),
            "redis+cluster" | "rediss+cluster" => cluster(address),
            _ => None,
        };
        if let Some(query) = query {
            return Err(parameters::refusal(query));
        }
        let (masters, login) = parsed.ok_or_else(forms)?;
        let is_encrypted = scheme.starts_with("rediss");
        let masked = match address.rsplit_once('@') {
            None => format!("{scheme}://{address}"),
            // The user name is masked too, because some services use a token as one.
            Some((_, hosts)) => format!("{scheme}://***@{hosts}"),
        };
        let sentinel_login = None;
        Ok(Self::Redis(Deployment { masters, login, sentinel_login, is_encrypted, masked }))
    }

    /// Sets a separate login for the sentinels.
    pub fn with_sentinel_login(self, user: Option<String>, password: String) -> Self {
        let Self::Redis(deployment) = self else { return self };
        let login = RedisConnectionInfo::default().set_password(password);
        let login = match user {
            Some(user) => login.set_username(user),
            None => login,
        };
        Self::Redis(Deployment { sentinel_login: Some(login), ..deployment })
    }

    /// Whether connections use TLS.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Redis(deployment) if deployment.is_encrypted)
    }

    /// The database number. Keys belong to a database; pub/sub and functions belong to the whole
    /// server.
    pub fn database(&self) -> i64 {
        match self {
            Self::Memory => 0,
            Self::Redis(deployment) => deployment.login.db(),
        }
    }

    /// Whether sentinels are asked for the master.
    pub fn has_sentinels(&self) -> bool {
        matches!(self, Self::Redis(Deployment { masters: Masters::Sentinel { .. }, .. }))
    }

    /// Whether it is a cluster.
    pub fn is_cluster(&self) -> bool {
        matches!(self, Self::Redis(deployment) if deployment.pubsub().is_sharded())
    }

    /// The command that a service publishes with. `None`: services cannot publish.
    pub fn publish_command(&self) -> Option<&'static str> {
        match self {
            Self::Memory => None,
            Self::Redis(deployment) => Some(deployment.pubsub().publish()),
        }
    }

    pub fn is_memory(&self) -> bool {
        matches!(self, Self::Memory)
    }

    /// The URL without credentials.
    pub fn masked(&self) -> String {
        match self {
            Self::Memory => "memory:".to_owned(),
            Self::Redis(deployment) => deployment.masked.clone(),
        }
    }
}

fn single(rest: &str) -> Option<(Masters, RedisConnectionInfo)> {
    // The crate reads `#insecure` as permission to accept any certificate.
    if rest.contains('#') {
        return None;
    }
    let info = format!("redis://{rest}").into_connection_info().ok()?;
    let ConnectionAddr::Tcp(host, port) = info.addr() else { return None };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // The other forms take a list; here it would be one host name that never resolves.
    let one = !host.contains(',');
    one.then(|| (Masters::Single(ServerAddress::new(host, *port)), info.redis_settings().clone()))
}

fn sentinel(rest: &str) -> Option<(Masters, RedisConnectionInfo)> {
    let (credentials, address) = credentials(rest);
    let (hosts, path) = address.split_once('/')?;
    let (service, db) = path.split_once('/').unwrap_or((path, "0"));
    let is_allowed = |c: char| c.is_ascii_graphic() && !"/?#".contains(c);
    if service.is_empty() || !service.chars().all(is_allowed) {
        return None;
    }
    let sentinels = addresses(hosts, SENTINEL_PORT)?;
    Some((Masters::Sentinel { sentinels, service: service.to_owned() }, login(credentials, db)?))
}

fn cluster(rest: &str) -> Option<(Masters, RedisConnectionInfo)> {
    let (credentials, address) = credentials(rest);
    let hosts = address.strip_suffix('/').unwrap_or(address);
    Some((Masters::Cluster { nodes: addresses(hosts, PORT)? }, login(credentials, "0")?))
}

fn credentials(rest: &str) -> (&str, &str) {
    rest.rsplit_once('@').unwrap_or(("", rest))
}

fn addresses(list: &str, default_port: u16) -> Option<Vec<ServerAddress>> {
    let addresses: Option<Vec<_>> =
        list.split(',').map(|text| ServerAddress::parse(text, default_port)).collect();
    addresses.filter(|addresses| addresses.len() <= ADDRESSES_MAX)
}

/// The crate decodes percent-encoded credentials.
fn login(credentials: &str, db: &str) -> Option<RedisConnectionInfo> {
    let info = format!("redis://{credentials}@host/{db}").into_connection_info().ok()?;
    Some(info.redis_settings().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(text: &str) -> Deployment {
        match Url::parse(text) {
            Ok(Url::Redis(deployment)) => deployment,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn the_masked_url_hides_credentials() {
        let masked = |text| Url::parse(text).unwrap().masked();
        assert_eq!(masked("redis://127.0.0.1:6379/2"), "redis://127.0.0.1:6379/2");
        assert_eq!(masked("redis://:p%40ss@host"), "redis://***@host");
        assert_eq!(masked("redis://ada:hush@host:1"), "redis://***@host:1");
        assert_eq!(
            masked("redis+sentinel://ada:hush@a,b:1/main/3"),
            "redis+sentinel://***@a,b:1/main/3"
        );
        assert_eq!(masked("redis://token@host"), "redis://***@host");
        assert_eq!(masked("redis+cluster://:hush@a,b"), "redis+cluster://***@a,b");
    }

    #[test]
    fn a_sentinel_url_has_a_service_and_its_own_default_port() {
        let it = deployment("redis+sentinel://ada:p%40ss@a,b:1,[::1]/main/3");
        let sentinels = vec![
            ServerAddress::new("a", SENTINEL_PORT),
            ServerAddress::new("b", 1),
            ServerAddress::new("::1", SENTINEL_PORT),
        ];
        assert_eq!(it.masters, Masters::Sentinel { sentinels, service: "main".to_owned() });
        assert_eq!((it.login.username(), it.login.password()), (Some("ada"), Some("p@ss")));
        assert_eq!(it.login.db(), 3);
    }

    #[test]
    fn a_cluster_url_lists_some_of_its_nodes() {
        let it = deployment("redis+cluster://a,b:7001");
        let nodes = vec![ServerAddress::new("a", PORT), ServerAddress::new("b", 7001)];
        assert_eq!(it.masters, Masters::Cluster { nodes });
        assert_eq!((it.login.username(), it.login.password()), (None, None));
    }

    #[test]
    fn services_publish_with_the_command_of_the_deployment() {
        let command = |text| Url::parse(text).unwrap().publish_command();
        assert_eq!(command("memory:"), None);
        assert_eq!(command("redis://host"), Some("PUBLISH"));
        assert_eq!(command("redis+sentinel://a/main"), Some("PUBLISH"));
        assert_eq!(command("redis+cluster://a"), Some("SPUBLISH"));
    }

    #[test]
    fn each_url_form_has_a_variant_with_tls() {
        for (plain, encrypted) in [
            ("redis://me:secret@a:7/2", "rediss://me:secret@a:7/2"),
            ("redis+sentinel://a,b/main", "rediss+sentinel://a,b/main"),
            ("redis+cluster://a,b:7001", "rediss+cluster://a,b:7001"),
        ] {
            let [plain, encrypted] = [plain, encrypted].map(deployment);
            assert_eq!(plain.masters, encrypted.masters);
            assert_eq!(plain.login.password(), encrypted.login.password());
            assert_eq!([plain.is_encrypted, encrypted.is_encrypted], [false, true]);
            assert!(format!("{encrypted:?}").starts_with("rediss"), "{encrypted:?}");
        }
    }

    #[test]
    fn other_url_forms_are_refused() {
        for text in [
            "",
            "memory",
            "http://host",
            "redis",
            "redis://",
            "rediss://",
            "rediss://host/#insecure",
            "redisss://host",
            "redis://a,b",
            "redis+sentinel://a,b",
            "redis+sentinel://a/",
            "redis+sentinel://a/main/x",
            "redis+sentinel:///main",
            "redis+cluster://",
            "redis+cluster://a,",
            "redis+cluster://a/1",
        ] {
            assert!(Url::parse(text).is_err_and(|why| why.starts_with("must be ")), "{text}");
        }
    }

    #[test]
    fn url_parameters_are_refused_by_name_without_quoting_their_values() {
        for (query, expected) in [
            ("ssl=true", "ssl"),
            ("ssl=true&db=3", "redis://host/3"),
            ("db=3", "redis://host/3"),
            ("password=hush", "before the host"),
            ("protocl=resp3", "protocl"),
            ("timeout=hush", "timeout"),
            ("protocol=resp3", "protocol"),
        ] {
            for form in ["redis://h", "rediss://me:hush@h/2", "redis+cluster://a,b"] {
                let why = Url::parse(&format!("{form}?{query}")).unwrap_err();
                assert!(why.contains(expected) && !why.contains("hush"), "{query}: {why}");
            }
        }
    }

    #[test]
    fn a_malformed_url_parameter_is_not_quoted() {
        for text in ["redis://:pa?hush@host", "redis://host?hush", "redis://:hush=x?hush=@host"] {
            let why = Url::parse(text).unwrap_err();
            assert!(!why.contains("hush") && why.contains("%3F"), "{text}: {why}");
        }
    }

    #[test]
    fn sentinels_may_have_a_separate_login() {
        let url = Url::parse("redis+sentinel://ada:p@a/main").unwrap();
        let Url::Redis(it) = url.with_sentinel_login(Some("bo".into()), "q".into()) else {
            panic!("it is Redis");
        };
        let login = it.sentinel_login.unwrap();
        assert_eq!((login.username(), login.password()), (Some("bo"), Some("q")));
        assert_eq!((it.login.username(), it.login.password()), (Some("ada"), Some("p")));
    }
}
