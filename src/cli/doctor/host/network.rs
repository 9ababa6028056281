//! The kernel's limits for connections.

use super::super::finding::{Finding, Level};
use super::super::sizes::{bytes, many};
use super::facts::Facts;
use super::room::{capacity_level, configured_connections};
use crate::config::Config;
use crate::settings::ListenAddress;

/// Linux' default since 5.4.
const SOMAXCONN_MIN: usize = 4096;

/// Without SYN cookies, the kernel drops pending handshakes beyond this.
const SYN_BACKLOG_MIN: usize = 1024;

/// The percentage of tracked connections from which the table is nearly full.
const TRACKED_PERCENT_MAX: usize = 75;

/// Bytes of TCP buffers per connection, a page: with fewer, a publication to all connections runs short.
const TCP_BYTES_MIN: usize = 4096;

pub fn findings(facts: &Facts, config: &Config) -> Vec<Finding> {
    let checks = [accept_queue, handshakes, ports, own_port, tracked, buffers];
    checks.iter().filter_map(|check| check(facts, config)).collect()
}

fn accept_queue(facts: &Facts, _: &Config) -> Option<Finding> {
    let somaxconn = facts.somaxconn?;
    let level = if somaxconn < SOMAXCONN_MIN { Level::Warning } else { Level::Ok };
    let measured = format!("net.core.somaxconn = {}", many(somaxconn));
    let why = "this many connections can wait while the node is busy; further ones, as when all clients of another \
               node reconnect together, retry after a second or more";
    let remedy = format!("sysctl -w net.core.somaxconn={SOMAXCONN_MIN}, then restart the node");
    Some(Finding::new(level, "accept queue", measured, why, remedy))
}

fn handshakes(facts: &Facts, _: &Config) -> Option<Finding> {
    let backlog = facts.syn_backlog?;
    let measured = format!("net.ipv4.tcp_max_syn_backlog = {}", many(backlog));
    if facts.has_syn_cookies.unwrap_or(true) {
        return Some(Finding::ok("TCP handshakes", format!("{measured}, beyond it SYN cookies")));
    }
    let level = if backlog < SYN_BACKLOG_MIN { Level::Warning } else { Level::Ok };
    let why = "SYN cookies are off, so the kernel drops new handshakes while this many are pending";
    let remedy = "sysctl -w net.ipv4.tcp_syncookies=1 net.ipv4.tcp_max_syn_backlog=4096";
    Some(Finding::new(level, "TCP handshakes", measured, why, remedy))
}

/// The node itself has a few outgoing connections; a balancer has one for each client.
fn ports(facts: &Facts, config: &Config) -> Option<Finding> {
    let (first, last) = facts.ports?;
    let ports = usize::from(last.saturating_sub(first)) + 1;
    let measured = format!("net.ipv4.ip_local_port_range = {first} {last}: {} ports", many(ports));
    let is_beyond = configured_connections(config).is_some_and(|connections| connections > ports);
    let level = if is_beyond { Level::Hint } else { Level::Ok };
    let why = format!(
        "limits.connections_max is higher: a balancer that connects on behalf of its clients has at most this many \
         connections from each of its addresses to each address and port of a node. If balancers are set up like \
         this host, one of their addresses fills a node to {}; clients that connect directly are not affected",
        many(ports)
    );
    let remedy = "on the balancer: sysctl -w net.ipv4.ip_local_port_range='1024 65535', and several source \
                  addresses, or several addresses of the node";
    Some(Finding::new(level, "ports of a balancer", measured, why, remedy))
}

/// A node cannot listen on a port that an outgoing connection already uses.
fn own_port(facts: &Facts, config: &Config) -> Option<Finding> {
    let (first, last) = facts.ports?;
    let reserved = |port: u16| {
        let ranges = facts.reserved_ports.split(',').filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse::<u16>().ok()?..=last.parse().ok()?)
        });
        ranges.into_iter().any(|range| range.contains(&port))
    };
    let listens = [Some(config.server.listen), Some(config.internal.listen), config.mqtt.listen];
    let ports = listens.into_iter().flatten().map(ListenAddress::port);
    let taken = ports.into_iter().find(|port| (first..=last).contains(port) && !reserved(*port))?;
    Some(Finding::warning(
        "listening port",
        format!("{taken} is in the range of outgoing connections"),
        "a connection of any process may use it when the node restarts, and the start then fails",
        format!("another port, or sysctl -w net.ipv4.ip_local_reserved_ports={taken}"),
    ))
}

fn tracked(facts: &Facts, config: &Config) -> Option<Finding> {
    let (tracked, max) = facts.tracked?;
    let measured = format!("nf_conntrack has {} of {}", many(tracked), many(max));
    // The table exists wherever the kernel could track; only a count above 0 shows that it does.
    if tracked == 0 {
        return Some(Finding::ok("connection tracking", format!("{measured}: not in use now")));
    }
    let level = match capacity_level(max.saturating_sub(tracked), config) {
        Level::Ok if tracked / TRACKED_PERCENT_MAX >= max / 100 => Level::Warning,
        level => level,
    };
    let size = configured_connections(config).unwrap_or(max).saturating_mul(2);
    let why = "each connection takes an entry, up to two minutes after its end too; once the table is full, the \
               kernel drops packets of new connections and reports it only in its log";
    let remedy = format!(
        "sysctl -w net.netfilter.nf_conntrack_max={size}, or no tracking for the node's port (a rule with \
         notrack)"
    );
    Some(Finding::new(level, "connection tracking", measured, why, remedy))
}

fn buffers(facts: &Facts, config: &Config) -> Option<Finding> {
    let (pressure, max) = facts.tcp_bytes?;
    let slow = facts.send_buffer_bytes.map_or_else(String::new, |each| {
        let readers = many(pressure / each.max(1));
        format!(": enough for {readers} slow readers at {} each (tcp_wmem)", bytes(each))
    });
    let measured = format!("net.ipv4.tcp_mem is scarce from {}{slow}", bytes(pressure));
    let is_short = configured_connections(config)
        .is_some_and(|connections| pressure / connections < TCP_BYTES_MIN);
    let level = if is_short { Level::Warning } else { Level::Ok };
    let why = format!(
        "one publication to all of limits.connections_max connections takes a page of each, and the kernel never \
         allows more than {}: beyond it, it drops packets of all connections",
        bytes(max)
    );
    let pages = configured_connections(config).unwrap_or_default().saturating_mul(4);
    let remedy = format!(
        "sysctl -w net.ipv4.tcp_mem='{pages} {} {}'; smaller net.ipv4.tcp_wmem lets slow readers hold less",
        pages.saturating_mul(2),
        pages.saturating_mul(3),
    );
    Some(Finding::new(level, "TCP buffers", measured, why, remedy))
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

    fn level(facts: Facts, flags: &[&str], subject: &str) -> Option<Level> {
        let found = findings(&facts, &config(flags));
        found.iter().find(|finding| finding.subject == subject).map(|finding| finding.level)
    }

    #[test]
    fn a_short_accept_queue_is_a_warning() {
        let of = |somaxconn| Facts { somaxconn: Some(somaxconn), ..Facts::default() };
        assert_eq!(level(of(128), &[], "accept queue"), Some(Level::Warning));
        assert_eq!(level(of(4096), &[], "accept queue"), Some(Level::Ok));
        assert_eq!(level(Facts::default(), &[], "accept queue"), None);
    }

    #[test]
    fn a_short_handshake_queue_is_a_warning_without_syn_cookies() {
        let of = |has_syn_cookies| Facts {
            syn_backlog: Some(128),
            has_syn_cookies: Some(has_syn_cookies),
            ..Facts::default()
        };
        assert_eq!(level(of(true), &[], "TCP handshakes"), Some(Level::Ok));
        assert_eq!(level(of(false), &[], "TCP handshakes"), Some(Level::Warning));
    }

    #[test]
    fn too_few_ports_of_a_balancer_and_a_listening_port_in_their_range_are_reported() {
        let facts = || Facts { ports: Some((32_768, 60_999)), ..Facts::default() };
        let subject = "ports of a balancer";
        assert_eq!(level(facts(), &["limits.connections_max=50000"], subject), Some(Level::Hint));
        assert_eq!(level(facts(), &["limits.connections_max=20000"], subject), Some(Level::Ok));
        let listen = ["server.listen=127.0.0.1:40000"];
        assert_eq!(level(facts(), &[], "listening port"), None);
        assert_eq!(level(facts(), &listen, "listening port"), Some(Level::Warning));
        let reserved = Facts { reserved_ports: "8080,39990-40010".to_owned(), ..facts() };
        assert_eq!(level(reserved, &listen, "listening port"), None);
    }

    #[test]
    fn a_nearly_full_connection_tracking_table_is_reported() {
        let of = |tracked, max| Facts { tracked: Some((tracked, max)), ..Facts::default() };
        let subject = "connection tracking";
        assert_eq!(level(of(0, 1_000), &[], subject), Some(Level::Ok), "it tracks nothing");
        assert_eq!(level(of(10, 262_144), &[], subject), Some(Level::Ok));
        assert_eq!(level(of(200_000, 262_144), &[], subject), Some(Level::Warning));
        let flags = ["limits.connections_max=300000"];
        assert_eq!(level(of(10, 262_144), &flags, subject), Some(Level::Problem));
    }

    #[test]
    fn tcp_buffers_below_a_page_per_connection_are_a_warning() {
        let facts = Facts { tcp_bytes: Some((400 << 20, 600 << 20)), ..Facts::default() };
        let of = |flags: &[&str]| level(facts.clone(), flags, "TCP buffers");
        assert_eq!(of(&[]), Some(Level::Ok));
        assert_eq!(of(&["limits.connections_max=100000"]), Some(Level::Ok));
        assert_eq!(of(&["limits.connections_max=200000"]), Some(Level::Warning));
    }
}
