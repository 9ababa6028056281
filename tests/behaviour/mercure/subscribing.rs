//! Section *Subscription*.

use testkit::event_stream::EventStream;
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::http::request;
use testkit::node::Node;

use super::{HUB, MERCURE, encoded, follow, next_data, path, publish, refused};

for_simple_brokers!(a_template_follows_the_topics_it_matches_where_a_rule_has_patterns);

#[tokio::test]
async fn topics_are_compared_byte_for_byte_and_white_space_is_percent_encoded() {
    let node = Node::standalone(&[MERCURE]).await;
    let mut upper = follow(&node, &["https://example.com/A"]).await;
    let mut spaced = EventStream::open(&node, &format!("{HUB}?topic=a+b")).await;
    let mut wide = follow(&node, &["https://example.com/é/🌊"]).await;
    publish(&node, "https://example.com/a", "lower").await;
    publish(&node, "https://example.com/A", "upper").await;
    publish(&node, "a b", "spaced").await;
    publish(&node, "https://example.com/é/🌊", "wide").await;
    assert_eq!(next_data(&mut upper).await, "upper");
    assert_eq!(next_data(&mut spaced).await, "spaced");
    assert_eq!(next_data(&mut wide).await, "wide");
}

#[tokio::test]
async fn the_newest_drafts_parameters_name_topics_too_and_unknown_matchers_get_400() {
    let node = Node::standalone(&[MERCURE]).await;
    let path = format!("{HUB}?match={}&match_exact={}", encoded("a"), encoded("b{c}"));
    let mut stream = EventStream::open(&node, &path).await;
    publish(&node, "a", "1").await;
    publish(&node, "b{c}", "2").await;
    assert_eq!(next_data(&mut stream).await, "1");
    assert_eq!(next_data(&mut stream).await, "2");
    for query in [
        "match_urlpattern=x",
        "match_regexp=x",
        "MATCH=x",
        "matches=x",
        "",
        "topic=",
        "topic=%0a",
        "topic=%ff",
    ] {
        let answer = refused(&node, &format!("{HUB}?topic2=a&{query}"), "").await;
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
    }
}

#[tokio::test]
async fn a_template_where_no_rule_has_patterns_is_refused_and_a_text_that_is_none_is_a_topic() {
    let node = Node::standalone(&[MERCURE, r#"rules=[{pattern="**"}]"#]).await;
    for topic in ["*", "https://example.com/books/{id}"] {
        let answer = refused(&node, &path(&[topic]), "").await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.text().contains("patterns = true"), "{}", answer.text());
    }
    let mut stream = follow(&node, &["no {template"]).await;
    publish(&node, "no {template", "1").await;
    assert_eq!(next_data(&mut stream).await, "1");
}

#[tokio::test]
async fn a_stream_has_comments_while_nothing_is_published_and_names_the_hub() {
    let node = Node::standalone(&[MERCURE, "session.ping_interval=1s"]).await;
    let mut stream = follow(&node, &["a"]).await;
    assert_eq!(stream.header("link"), Some("</.well-known/mercure>; rel=\"mercure\""));
    assert_eq!(stream.header("last-event-id"), None, "the client has not asked for the past");
    let begin = stream.comments;
    stream.read_until(|stream| stream.comments > begin + 1).await;
    let label = r#"tidegate_connections{protocol="mercure",transport="sse"}"#;
    assert_eq!(node.metric(label).await, 1.);
}

#[tokio::test]
async fn pages_of_allowed_origins_may_read_with_cookies_and_others_may_not() {
    let node = Node::standalone(&[MERCURE, "server.origins=app.example"]).await;
    let allowed = "Origin: https://app.example\r\n";
    let stream = EventStream::request(node.public, &path(&["a"]), allowed).await;
    let stream = stream.unwrap_or_else(|refused| panic!("{refused:?}"));
    assert_eq!(stream.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(stream.header("access-control-allow-credentials"), Some("true"));
    let other = refused(&node, &path(&["a"]), "Origin: https://evil.example\r\n").await;
    assert_eq!((other.status, other.header("access-control-allow-origin")), (403, None));
    let posted =
        request(node.public, "POST", HUB, &[("Origin", "https://evil.example")], b"topic=a&data=1");
    assert_eq!(posted.await.status, 403);
    let asks = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "POST")];
    let preflight = request(node.public, "OPTIONS", HUB, &asks, b"").await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET, POST"));
    assert_eq!(preflight.header("access-control-allow-credentials"), Some("true"));
}

async fn a_template_follows_the_topics_it_matches_where_a_rule_has_patterns(broker: Broker) {
    let rules = r#"rules=[{pattern="https://example.com/secret/**",subscribe="nobody",publish="anyone",patterns=true},
        {pattern="https://example.com/**",patterns=true},{pattern="**"}]"#;
    let fleet = broker.fleet(&[MERCURE, rules]).await;
    let [a, b] = fleet.nodes();
    let (book, film) = ("https://example.com/books/1", "https://example.com/films/1");
    let mut books = follow(a, &["https://example.com/books/{id}"]).await;
    let mut all = follow(b, &["https://example.com/{+any}", "chat"]).await;
    publish(b, film, "film").await;
    publish(b, "https://example.com/books/1/pages/1", "page").await;
    publish(a, "https://example.com/secret/1", "secret").await;
    publish(b, book, "book").await;
    let fields = [("topic", film), ("topic", book), ("data", "both")];
    assert_eq!(super::post(a, &fields).await.status, 200);
    publish(a, "chat", "chat").await;
    assert_eq!(next_data(&mut books).await, "book");
    assert_eq!(next_data(&mut books).await, "both");
    let mut got = Vec::new();
    while got.len() < 5 {
        got.push(next_data(&mut all).await);
    }
    got.sort();
    assert_eq!(got, ["book", "both", "chat", "film", "page"]);
    let path = format!("{}&lastEventID=x", path(&["https://example.com/books/{id}"]));
    let mut again = EventStream::open(b, &path).await;
    assert_eq!(again.header("last-event-id"), Some("earliest"));
    assert_eq!(again.event().await.name, "gap");
}
