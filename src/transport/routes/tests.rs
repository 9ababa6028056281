//! Tests of the route table.

use super::*;

#[test]
fn a_path_leads_to_its_route_and_channel() {
    let found = |path| find(path, StreamLive::No).map(|(route, channel)| (route.path, channel));
    assert_eq!(found("/ws"), Some(("/ws", None)));
    assert_eq!(found("/sse"), Some(("/sse", None)));
    assert_eq!(found("/ws/"), Some(("/ws/{channel}", Some(""))));
    assert_eq!(found("/ws/a/b%20"), Some(("/ws/{channel}", Some("a/b%20"))));
    let run = Some(("/ai/{channel}/stream", Some("run%3A1/a")));
    assert_eq!(found("/ai/run%3A1/a/stream"), run);
    assert_eq!(found("/ai/run:1"), None);
    assert_eq!(found("/app/k-1"), Some(("/app/{key}", Some("k-1"))));
    assert_eq!(found("/wsx"), None);
    assert_eq!(found("/"), None);
    assert!(is_near("/wsx") && is_near("/sse") && !is_near("/") && !is_near("/favicon.ico"));
}

#[test]
fn the_protocols_of_a_route_have_distinct_subprotocols() {
    for route in ROUTES {
        let names = route.protocols.iter().map(|protocol| protocol.subprotocol);
        let distinct: std::collections::HashSet<_> = names.collect();
        assert_eq!(distinct.len(), route.protocols.len(), "{}", route.path);
    }
}
