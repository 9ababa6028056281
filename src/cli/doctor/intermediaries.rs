//! Proxies and load balancers between clients and nodes, and their default idle timeouts.

use std::time::Duration;

/// A name, and its default idle timeout.
type IdleTimeout = (&'static str, Duration);

/// By timeout. Each from its own documentation: Heroku's HTTP routing (rolling 55 s), nginx'
/// `proxy_read_timeout`, AWS' `idle_timeout.timeout_seconds` of application balancers, Azure's TCP idle timeout,
/// Cloudflare's read timeout (100 s for long, 120 s now), Envoy's `stream_idle_timeout`, AWS' network balancers.
/// HAProxy has no default: `timeout tunnel`, or else `timeout client` and `server`, 50 s in Debian's package.
const IDLE_TIMEOUTS: [IdleTimeout; 8] = [
    ("HAProxy as Debian sets it up", Duration::from_secs(50)),
    ("Heroku", Duration::from_secs(55)),
    ("nginx", Duration::from_secs(60)),
    ("AWS application balancers", Duration::from_secs(60)),
    ("Cloudflare", Duration::from_secs(100)),
    ("Azure's balancers", Duration::from_secs(240)),
    ("Envoy", Duration::from_secs(300)),
    ("AWS network balancers", Duration::from_secs(350)),
];

/// A ping of a busy node is a little late, and needs time to arrive.
const SLACK: Duration = Duration::from_secs(5);

/// Those that by default close a connection with this ping interval.
pub fn closing_between_pings(
    ping_interval: Duration,
) -> impl Iterator<Item = &'static IdleTimeout> {
    IDLE_TIMEOUTS.iter().filter(move |(_, timeout)| ping_interval + SLACK > *timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_ping_interval_is_below_all_idle_timeouts_and_a_minute_is_not() {
        let cut =
            |seconds| closing_between_pings(Duration::from_secs(seconds)).map(|(name, _)| *name);
        assert_eq!(cut(25).count(), 0);
        assert!(cut(60).any(|name| name == "nginx"));
        assert!(!cut(60).any(|name| name == "Cloudflare"));
        assert_eq!(cut(3600).count(), IDLE_TIMEOUTS.len());
    }
}
