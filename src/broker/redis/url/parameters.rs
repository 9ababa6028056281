//! Parameters after a `?` in `broker.url`. None are supported: each is refused by name, with the
//! alternative, because an ignored parameter may be the one that requires TLS.

/// Maximum length of a quoted name.
const NAME_BYTES_MAX: usize = 32;

/// Names of parameters elsewhere, and what to write here.
const INSTEAD: &[(&[&str], &str)] = &[
    (&["db", "database"], "the database is the path, as in redis://host/3"),
    (
        &["password", "pass", "auth", "user", "username"],
        "credentials are written before the host, as in redis://user:password@host, percent-encoded",
    ),
    (
        &["ssl", "tls", "scheme", "insecure", "ssl_cert_reqs", "tls_verify"],
        "TLS is enabled by the scheme, as in rediss://host, and broker.ca_file sets the trusted authorities",
    ),
    (&["service", "master", "master_name", "sentinel"], "see redis+sentinel://host/service"),
    (&["cluster", "nodes", "addr"], "see redis+cluster://host,host"),
    (&["prefix"], "see broker.prefix"),
    (&["timeout", "socket_timeout"], "see broker.publish_timeout"),
    (
        &["protocol", "resp"],
        "the node chooses the protocol itself; every server from Redis 7 on supports it",
    ),
];

/// Maximum number of reported parameters.
const REPORTED_MAX: usize = 8;

/// The faults of all parameters. Values may be secrets, and so may anything that is not a plain
/// name.
pub fn refusal(query: &str) -> String {
    let names = query.split('&').map(|parameter| parameter.split_once('=').map(|(name, _)| name));
    let names: Option<Vec<_>> = names.map(|name| name.filter(|name| is_plain(name))).collect();
    let Some(names) = names.filter(|_| !query.contains('@')) else {
        return "takes no parameters after a ?; a ? in a password is written %3F".to_owned();
    };
    let reported = names.into_iter().take(REPORTED_MAX).map(|name| {
        let lower = name.to_ascii_lowercase();
        let known = INSTEAD.iter().find(|(names, _)| names.contains(&lower.as_str()));
        let instead = known.map_or("there are none", |(_, instead)| instead);
        format!("takes no parameter {name}: {instead}")
    });
    reported.collect::<Vec<_>>().join("; ")
}

fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain)
}
