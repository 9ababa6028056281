//! Access to short requests: tokens, origins, and limits.

use serde_json::json;
use testkit::http::{Response, request};
use testkit::node::Node;
use testkit::requester::Requester;
use testkit::token::{self, KEYS};

const RULES: &str = r#"rules=[
    { pattern = "lobby", subscribe = "user", publish = "user", history = { size = 10, age = "1m" }, presence = true },
    { pattern = "read", subscribe = "user", publish = "nobody", history = { size = 10, age = "1m" }, presence = true },
    { pattern = "open", subscribe = "anyone", publish = "anyone", history = { size = 10, age = "1m" } },
    { pattern = "**", subscribe = "nobody", publish = "nobody" }]"#;

fn code(response: &Response) -> String {
    response.json()["error"]["code"].as_str().expect("a code").to_owned()
}

#[tokio::test]
async fn each_request_needs_the_right_that_its_command_needs() {
    let node = Node::standalone(&[KEYS, RULES]).await;
    let token = token::for_user("ada", &[]);
    let authorization = format!("Bearer {token}");
    let mut requester = Requester::connect(&node).await;
    let all = [
        ("POST", "publish", ""),
        ("GET", "history", ""),
        ("GET", "presence", ""),
        ("GET", "poll", "?wait=0s"),
    ];
    for (method, name, query) in all {
        let headers = [("Authorization", authorization.as_str())];
        let path = format!("/{name}/lobby{query}");
        let allowed = requester.request(method, &path, &headers, b"").await;
        assert!([200, 202].contains(&allowed.status), "{path}: {allowed:?}");
        let and = if query.is_empty() { "?" } else { "&" };
        let in_query =
            requester.request(method, &format!("{path}{and}token={token}"), &[], b"").await;
        assert_eq!(in_query.status, allowed.status, "{path}: {in_query:?}");
        for headers in [&[][..], &[("Authorization", "Bearer x")]] {
            let refused = requester.request(method, &path, headers, b"").await;
            assert_eq!((refused.status, code(&refused).as_str()), (401, "unauthorized"), "{path}");
            assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        }
        let path = format!("/{name}/closed{query}");
        let forbidden = requester.request(method, &path, &headers, b"").await;
        assert_eq!((forbidden.status, code(&forbidden).as_str()), (403, "forbidden"), "{path}");
        let path = format!("/{name}/read{query}");
        let status = requester.request(method, &path, &headers, b"").await.status;
        assert_eq!(status, if name == "publish" { 403 } else { 200 }, "{path}");
    }
    node.wait_for_metric("tidegate_connections", 0.).await;
}

#[tokio::test]
async fn a_revoked_or_expired_token_ends_a_waiting_poll_with_401() {
    let node = Node::standalone(&[KEYS, RULES, "auth.leeway=0s"]).await;
    let mut revoked = Requester::connect(&node).await;
    let mut expiring = Requester::connect(&node).await;
    let token = token::for_user("ada", &[]);
    revoked.send("GET", &format!("/poll/lobby?token={token}"), &[], b"").await;
    let token = token::token(2., json!({ "sub": "bob" }));
    expiring.send("GET", &format!("/poll/lobby?token={token}"), &[], b"").await;
    node.wait_for_metric("tidegate_connections", 2.).await;
    assert_eq!(node.post("/api/disconnect?user=ada", &[], b"").await.status, 202);
    for requester in [&mut revoked, &mut expiring] {
        let answer = requester.response().await;
        assert_eq!((answer.status, code(&answer).as_str()), (401, "unauthorized"), "{answer:?}");
    }
}

#[tokio::test]
async fn idempotency_keys_of_different_users_are_independent() {
    let node = Node::standalone(&[KEYS, RULES]).await;
    let mut requester = Requester::connect(&node).await;
    let mut positions = Vec::new();
    for user in ["ada", "bob", "ada"] {
        let authorization = format!("Bearer {}", token::for_user(user, &[]));
        let headers = [("Authorization", authorization.as_str()), ("Idempotency-Key", "k")];
        let answer = requester.request("POST", "/publish/lobby", &headers, b"1").await.json();
        positions.push(answer["position"].as_str().expect("a position").to_owned());
    }
    assert_eq!(positions[0], positions[2]);
    assert_ne!(positions[0], positions[1]);
}

#[tokio::test]
async fn the_rate_of_publications_is_counted_over_all_connections_of_a_client() {
    let node = Node::standalone(&["limits.publications_per_second=5"]).await;
    let mut statuses = Vec::new();
    let mut last = None;
    for _ in 0..20 {
        let answer = Requester::connect(&node).await.post("/publish/news", b"1").await;
        statuses.push(answer.status);
        last = Some(answer).filter(|answer| answer.status == 429).or(last);
    }
    assert_eq!(statuses[..5], [202; 5], "{statuses:?}");
    let refused = last.unwrap_or_else(|| panic!("no request was refused: {statuses:?}"));
    assert_eq!(code(&refused), "rate_limited");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert!(node.metric(r#"tidegate_rejected_total{reason="publication_rate"}"#).await > 0.);
}

#[tokio::test]
async fn bytes_and_other_requests_have_rates_too_and_users_have_their_own() {
    let node = Node::standalone(&[
        KEYS,
        RULES,
        "limits.bytes_per_second=1KiB",
        "limits.commands_per_second=3",
    ])
    .await;
    let mut requester = Requester::connect(&node).await;
    assert_eq!(requester.post("/publish/open", &[b'x'; 4096]).await.status, 202);
    assert_eq!(requester.post("/publish/open", b"x").await.status, 429);
    let authorization = format!("Bearer {}", token::for_user("ada", &[]));
    let headers = [("Authorization", authorization.as_str())];
    let other = requester.request("POST", "/publish/lobby", &headers, b"x").await;
    assert_eq!(other.status, 202, "{other:?}");
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(requester.request("GET", "/poll/lobby?wait=0s", &headers, b"").await.status);
    }
    assert_eq!(statuses[..3], [200; 3], "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn waiting_polls_count_as_connections_of_their_user_and_of_the_node() {
    let settings = [KEYS, RULES, "limits.connections_per_user=2"];
    let node = Node::standalone(&settings).await;
    let authorization = format!("Bearer {}", token::for_user("ada", &[]));
    let headers = [("Authorization", authorization.as_str())];
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut requester = Requester::connect(&node).await;
        requester.send("GET", "/poll/lobby", &headers, b"").await;
        waiting.push(requester);
    }
    node.wait_for_metric("tidegate_connections", 2.).await;
    let mut third = Requester::connect(&node).await;
    let refused = third.request("GET", "/poll/lobby", &headers, b"").await;
    assert_eq!((refused.status, code(&refused).as_str()), (429, "limit_reached"));
    waiting.pop();
    node.wait_for_metric("tidegate_connections", 1.).await;
    assert_eq!(third.request("GET", "/poll/lobby?wait=0s", &headers, b"").await.status, 200);

    let node = Node::standalone(&["limits.connections_max=1"]).await;
    let mut only = Requester::connect(&node).await;
    only.send("GET", "/poll/news", &[], b"").await;
    node.wait_for_metric("tidegate_connections", 1.).await;
    assert_eq!(Requester::connect(&node).await.response().await.status, 503);
}

#[tokio::test]
async fn pages_of_allowed_origins_read_answers_and_errors_and_others_are_refused() {
    let node = Node::standalone(&["server.origins=https://app.example.com"]).await;
    let origin = [("Origin", "https://app.example.com")];
    let mut requester = Requester::connect(&node).await;
    for (method, path, status) in [
        ("POST", "/publish/news", 202),
        ("GET", "/poll/news?wait=0s", 200),
        ("GET", "/history/news", 404),
        ("GET", "/poll/news?since=x", 400),
        ("PUT", "/publish/news", 405),
    ] {
        let answer = requester.request(method, path, &origin, b"").await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://app.example.com"), "{path}");
        let exposed = answer.header("access-control-expose-headers").expect("exposed headers");
        assert!(exposed.contains("retry-after"), "{exposed}");
        let foreign = [("Origin", "https://evil.example.net")];
        let refused = requester.request(method, path, &foreign, b"").await;
        assert_eq!(refused.status, 403, "{path}: {refused:?}");
        assert_eq!(refused.header("access-control-allow-origin"), None);
    }
    for (path, method) in
        [("/publish/news", "POST"), ("/history/news", "GET"), ("/poll/news", "GET")]
    {
        let preflight = requester.request("OPTIONS", path, &origin, b"").await;
        assert_eq!(preflight.status, 204);
        assert_eq!(preflight.header("access-control-allow-methods"), Some(method));
        assert_eq!(preflight.header("access-control-max-age"), Some("600"));
        let headers = preflight.header("access-control-allow-headers").expect("allowed headers");
        for header in ["authorization", "content-type", "idempotency-key", "last-event-id"] {
            assert!(headers.contains(header), "{headers}");
        }
    }
}

#[tokio::test]
async fn requests_through_a_trusted_proxy_are_no_handshakes_but_count_for_their_client() {
    let settings = [
        "server.trusted_proxies=127.0.0.1",
        "limits.handshakes_per_second_per_ip=1",
        "limits.publications_per_second=5",
    ];
    let node = Node::standalone(&settings).await;
    let mut statuses = Vec::new();
    for number in 0..20 {
        // The proxy uses one connection for two clients.
        let client = format!("192.0.2.{}", number % 2);
        let headers = [("X-Forwarded-For", client.as_str())];
        statuses.push(request(node.public, "POST", "/publish/news", &headers, b"1").await.status);
    }
    assert_eq!(statuses[..10], [202; 10], "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
}
