//! What stands between clients and nodes, and after how long it cuts a quiet connection off by default.

use std::time::Duration;

/// A name, and the longest silence that it bears unless it is told otherwise.
type Patience = (&'static str, Duration);

/// By patience. Each from its own documentation: Heroku's HTTP routing (rolling 55 s), nginx'
/// `proxy_read_timeout`, AWS' `idle_timeout.timeout_seconds` of application balancers, Azure's TCP idle timeout,
/// Cloudflare's read timeout (100 s for long, 120 s now), Envoy's `stream_idle_timeout`, AWS' network balancers. HAProxy has none of its
/// own: `timeout tunnel`, or where it is missing `timeout client` and `server`, 50 s in Debian's package.
const PATIENCE: [Patience; 8] = [
    ("HAProxy as Debian sets it up", Duration::from_secs(50)),
    ("Heroku", Duration::from_secs(55)),
    ("nginx", Duration::from_secs(60)),
    ("AWS application balancers", Duration::from_secs(60)),
    ("Cloudflare", Duration::from_secs(100)),
    ("Azure's balancers", Duration::from_secs(240)),
    ("Envoy", Duration::from_secs(300)),
    ("AWS network balancers", Duration::from_secs(350)),
];

/// A ping comes a little later than it should on a busy node, and takes its way.
const SLACK: Duration = Duration::from_secs(5);

/// Those that by default cut off who is pinged so often.
pub fn that_cut(ping_interval: Duration) -> impl Iterator<Item = &'static Patience> {
    PATIENCE.iter().filter(move |(_, patience)| ping_interval + SLACK > *patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_suits_all_and_a_minute_does_not() {
        let cut = |seconds| that_cut(Duration::from_secs(seconds)).map(|(name, _)| *name);
        assert_eq!(cut(25).count(), 0);
        assert!(cut(60).any(|name| name == "nginx"));
        assert!(!cut(60).any(|name| name == "Cloudflare"));
        assert_eq!(cut(3600).count(), PATIENCE.len());
    }
}
