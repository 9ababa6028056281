//! Who can reach the node, and what clients may do there.

use super::super::finding::{Finding, Level};
use crate::auth::Mode;
use crate::config::Config;
use crate::settings::ClientListener;

pub fn findings(config: &Config) -> Vec<Finding> {
    let found =
        [auth(config), api(config), origins(config), proxies(config), proxy_headers(config)];
    found.into_iter().flatten().chain(jwks(config)).collect()
}

fn is_open(config: &Config) -> bool {
    config.auth.mode == Mode::None
}

fn auth(config: &Config) -> Option<Finding> {
    let listener = config.most_exposed();
    let ClientListener { key, address: listen } = listener;
    if !listener.is_exposed() {
        return Some(Finding::ok("who may connect", format!("this host only: {key} = {listen}")));
    }
    let level = if is_open(config) { Level::Warning } else { Level::Ok };
    let measured = match is_open(config) {
        true => format!("every client that reaches {listen}: auth.mode = none"),
        false => format!("clients with a token: {key} = {listen}"),
    };
    let why = "those clients may read and publish whatever rules allow anyone, and without rules everything";
    Some(Finding::new(
        level,
        "who may connect",
        measured,
        why,
        "auth.keys, or a network that only your clients reach",
    ))
}

fn api(config: &Config) -> Option<Finding> {
    let listen = config.internal.listen;
    let guard = match &config.internal.api_key {
        Some(_) => Some("with internal.api_key"),
        None => listen.ip().is_loopback().then_some("this host only"),
    };
    if let Some(guard) = guard {
        return Some(Finding::ok(
            "internal listener",
            format!("{guard}: internal.listen = {listen}"),
        ));
    }
    Some(Finding::warning(
        "internal listener",
        format!("{listen} without internal.api_key"),
        "any client that reaches it can publish to every channel and disconnect users",
        "TIDEGATE__INTERNAL__API_KEY in the node's environment, such as from openssl rand -hex 24",
    ))
}

fn origins(config: &Config) -> Option<Finding> {
    config.server.origins.allow_any().then(|| {
        let level = if is_open(config) { Level::Warning } else { Level::Hint };
        let why = "every page on the web may connect from its visitors' browsers; if tokens are required, it \
                   still needs one";
        let remedy = "server.origins with the hosts of your pages";
        Finding::new(level, "origins", "server.origins has \"*\"", why, remedy)
    })
}

/// Limits by address are useless if all clients have the balancer's address.
fn proxies(config: &Config) -> Option<Finding> {
    let server = &config.server;
    let is_told = !server.trusted_proxies.is_empty() || server.proxy_protocol;
    if is_told || server.listen.ip().is_loopback() {
        return None;
    }
    let limits = &config.limits;
    let by_address = limits.connections_per_ip > 0 || limits.handshakes_per_second_per_ip > 0;
    let level = if by_address { Level::Warning } else { Level::Hint };
    let measured = "server.trusted_proxies is empty";
    let why = match by_address {
        true => {
            "behind a balancer all clients have its address, and limits by address count them as one client"
        }
        false => "behind a balancer all clients have its address, both in limits and in the log",
    };
    let remedy = "server.trusted_proxies = [\"10.0.0.0/8\"], or your balancers' networks; nothing if there are no \
                  balancers";
    Some(Finding::new(level, "balancers", measured, why, remedy))
}

fn proxy_headers(config: &Config) -> Option<Finding> {
    let server = &config.server;
    (server.proxy_protocol && server.trusted_proxies.is_empty()).then(|| {
        let measured = "server.proxy_protocol without server.trusted_proxies";
        let why = "any client that reaches the node can choose the address it reports, and so evades limits by address";
        let remedy = "server.trusted_proxies with the balancers' addresses";
        Finding::warning("PROXY headers", measured, why, remedy)
    })
}

/// Keys that an attacker on the network path could replace.
fn jwks(config: &Config) -> impl Iterator<Item = Finding> {
    config.auth.exposed_jwks().map(|address| {
        let why = "an attacker on the network path can replace the keys, and so forge any token";
        Finding::warning("issuer's keys", format!("{address} over http"), why, "an https address")
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::level;
    use super::*;

    const OPEN: [&str; 2] = ["server.listen=0.0.0.0:8080", "auth.mode=none"];

    fn open(more: &[&str], subject: &str) -> Option<Level> {
        level(&[&OPEN[..], more].concat(), subject)
    }

    #[test]
    fn a_node_open_to_anonymous_clients_is_a_warning() {
        assert_eq!(open(&[], "who may connect"), Some(Level::Warning));
        let key = r#"auth.keys=[{alg="HS256",secret="0123456789012345678901234567890123456789"}]"#;
        let guarded = ["server.listen=0.0.0.0:8080", key];
        assert_eq!(level(&guarded, "who may connect"), Some(Level::Ok));
        assert_eq!(
            open(&["internal.listen=0.0.0.0:9090"], "internal listener"),
            Some(Level::Warning)
        );
        let keyed = ["internal.listen=0.0.0.0:9090", "internal.api_key=0123456789"];
        assert_eq!(open(&keyed, "internal listener"), Some(Level::Ok));
        assert_eq!(open(&["server.origins=*"], "origins"), Some(Level::Warning));
        assert_eq!(open(&["server.origins=example.com"], "origins"), None);
    }

    #[test]
    fn issuers_keys_over_http_from_another_host_are_a_warning() {
        for (address, expected) in [
            ("http://issuer.example/keys", Some(Level::Warning)),
            ("http://192.0.2.1/keys", Some(Level::Warning)),
            ("http://localhost:8000/keys", None),
            ("http://127.0.0.1/keys", None),
            ("http://[::1]:1/keys", None),
            ("https://issuer.example/keys", None),
        ] {
            let keys = format!(r#"auth.keys=[{{ jwks = "{address}" }}]"#);
            assert_eq!(level(&[&keys], "issuer's keys"), expected, "{address}");
        }
    }

    #[test]
    fn missing_trusted_proxies_are_reported() {
        assert_eq!(open(&[], "balancers"), Some(Level::Hint));
        assert_eq!(open(&["limits.connections_per_ip=10"], "balancers"), Some(Level::Warning));
        assert_eq!(open(&["server.trusted_proxies=10.0.0.0/8"], "balancers"), None);
        assert_eq!(open(&["server.proxy_protocol=true"], "PROXY headers"), Some(Level::Warning));
        assert_eq!(level(&[], "balancers"), None);
    }
}
