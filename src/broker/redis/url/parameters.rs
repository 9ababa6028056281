//! What follows a `?` in `broker.url`. There are no parameters: each is refused by its name, with what to write
//! in its stead, since one that is ignored may be the one that asks for TLS.

/// Longest name that is quoted.
const NAME_BYTES_MAX: usize = 32;

/// What others call it, and what to write here.
const INSTEAD: &[(&[&str], &str)] = &[
    (&["db", "database"], "the database is the path, as in redis://host/3"),
    (
        &["password", "pass", "auth", "user", "username"],
        "credentials stand before the host, as in redis://user:password@host, percent-encoded",
    ),
    (
        &["ssl", "tls", "scheme", "insecure", "ssl_cert_reqs", "tls_verify"],
        "TLS is asked for by the scheme, as in rediss://host, and broker.ca_file says whom to trust",
    ),
    (&["service", "master", "master_name", "sentinel"], "see redis+sentinel://host/service"),
    (&["cluster", "nodes", "addr"], "see redis+cluster://host,host"),
    (&["prefix"], "see broker.prefix"),
    (&["timeout", "socket_timeout"], "see broker.publish_timeout"),
    (
        &["protocol", "resp"],
        "the node chooses the protocol itself; every server from Redis 7 on speaks what it needs",
    ),
];

/// Most of them that are told of.
const TOLD_MAX: usize = 8;

/// What is wrong with each. Values may be secrets, and so may all that is no plain name.
pub fn refusal(query: &str) -> String {
    let names = query.split('&').map(|parameter| parameter.split_once('=').map(|(name, _)| name));
    let names: Option<Vec<_>> = names.map(|name| name.filter(|name| is_plain(name))).collect();
    let Some(names) = names.filter(|_| !query.contains('@')) else {
        return "takes no parameters after a ?; a ? in a password is written %3F".to_owned();
    };
    let told = names.into_iter().take(TOLD_MAX).map(|name| {
        let lower = name.to_ascii_lowercase();
        let known = INSTEAD.iter().find(|(names, _)| names.contains(&lower.as_str()));
        let instead = known.map_or("there are none", |(_, instead)| instead);
        format!("takes no parameter {name}: {instead}")
    });
    told.collect::<Vec<_>>().join("; ")
}

fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain)
}
