//! Section *Authorization*: who may publish, how a token is presented, and error responses.

use serde_json::{Value, json};
use testkit::event_stream::EventStream;
use testkit::node::Node;
use testkit::token::{self, KEYS};

use super::private::{publisher, subscriber};
use super::{MERCURE, code, follow_with, next_data, path, post, post_with, published, refused};

const RULES: &str =
    r#"rules=[{pattern="open:*",subscribe="anyone",publish="token"},{pattern="**"}]"#;

async fn node() -> Node {
    Node::standalone(&[MERCURE, KEYS, RULES, "auth.leeway=0s"]).await
}

async fn publish_as(node: &Node, token: &str, topics: &[&str]) -> testkit::http::Response {
    let fields: Vec<_> = topics.iter().map(|topic| ("topic", *topic)).collect();
    post_with(node, &fields, &[("Authorization", &format!("Bearer {token}"))]).await
}

fn claims(claims: Value) -> String {
    token::token(3600., claims)
}

#[tokio::test]
async fn a_publisher_needs_a_token_that_lists_every_topic_of_the_update() {
    let node = node().await;
    let anonymous = post(&node, &[("topic", "open:1")]).await;
    assert_eq!((anonymous.status, anonymous.header("www-authenticate")), (401, Some("Bearer")));
    let invalid = publish_as(&node, "a.b.c", &["open:1"]).await;
    let challenge = r#"Bearer error="invalid_token""#;
    assert_eq!((invalid.status, invalid.header("www-authenticate")), (401, Some(challenge)));
    let books = claims(json!({"mercure": {"publish": ["https://example.com/books/{id}"]}}));
    let book = "https://example.com/books/1";
    assert_eq!(publish_as(&node, &books, &[book]).await.status, 200);
    let mut stream = follow_with(&node, &[book], &subscriber(&["*"])).await;
    let partly = publish_as(&node, &books, &[book, "open:1"]).await;
    let challenge = r#"Bearer error="insufficient_scope""#;
    assert_eq!((partly.status, partly.header("www-authenticate")), (403, Some(challenge)));
    assert_eq!(code(&partly), "forbidden");
    for nothing in [json!({}), json!({"mercure": {}}), json!({"mercure": {"publish": []}})] {
        assert_eq!(publish_as(&node, &claims(nothing), &["open:1"]).await.status, 403);
    }
    for lists in [json!({"publish": ["open:*"]}), json!({"mercure": {"publish": ["*"]}})] {
        assert_eq!(publish_as(&node, &claims(lists), &["open:1"]).await.status, 200);
    }
    let header = format!("Bearer {books}");
    let fields = [("topic", book), ("data", "whole")];
    published(post_with(&node, &fields, &[("Authorization", &header)]).await);
    assert_eq!(next_data(&mut stream).await, "whole", "the refused update was published nowhere");
}

#[tokio::test]
async fn a_token_is_taken_from_the_header_or_else_the_query_or_else_a_cookie() {
    let node = node().await;
    let token = subscriber(&["kept:1"]);
    let path = path(&["kept:1"]);
    for (query, headers) in [
        (String::new(), format!("Authorization: Bearer {token}\r\n")),
        (format!("&authorization={token}"), String::new()),
        (String::new(), format!("Cookie: a=b; mercureAuthorization={token}\r\n")),
        (String::new(), format!("Cookie: __Secure-mercure_access_token={token}\r\n")),
        ("&authorization=x".to_owned(), format!("Authorization: Bearer {token}\r\n")),
        (format!("&authorization={token}"), "Cookie: mercureAuthorization=x\r\n".to_owned()),
    ] {
        let opened = EventStream::request(node.public, &format!("{path}{query}"), &headers).await;
        assert!(opened.is_ok(), "{query} {headers}");
    }
    let worse = format!("Cookie: mercureAuthorization={token}\r\nAuthorization: Bearer x\r\n");
    assert_eq!(refused(&node, &path, &worse).await.status, 401);
}

/// A browser sends cookies for every page, so the page must be one that may publish.
#[tokio::test]
async fn an_update_with_a_token_in_a_cookie_needs_an_allowed_page() {
    let node = node().await;
    let cookie = format!("mercureAuthorization={}", publisher());
    let own = format!("http://{}", node.public);
    let (own_page, evil_page) = (format!("{own}/page?a=b"), "https://evil.example/page");
    for (header, status) in [
        (None, 403),
        (Some(("Origin", "https://evil.example")), 403),
        (Some(("Origin", "null")), 403),
        (Some(("Referer", evil_page)), 403),
        (Some(("Referer", "no page")), 403),
        (Some(("Referer", own_page.as_str())), 200),
        (Some(("Origin", own.as_str())), 200),
    ] {
        let headers: Vec<_> = header.into_iter().chain([("Cookie", cookie.as_str())]).collect();
        let posted = post_with(&node, &[("topic", "open:1")], &headers).await;
        assert_eq!(posted.status, status, "{header:?}: {posted:?}");
    }
    let bearer = format!("Bearer {}", publisher());
    let headers = [("Authorization", bearer.as_str()), ("Cookie", &cookie)];
    let posted = post_with(&node, &[("topic", "open:1")], &headers).await;
    assert_eq!(posted.status, 200, "a service names no page");
}

#[tokio::test]
async fn rules_decide_which_topics_a_subscriber_may_follow() {
    let node = node().await;
    let path = path(&["open:1", "closed"]);
    let anonymous = refused(&node, &path, "").await;
    assert_eq!((anonymous.status, anonymous.header("www-authenticate")), (401, Some("Bearer")));
    let header = format!("Authorization: Bearer {}\r\n", subscriber(&["other"]));
    let unlisted = refused(&node, &path, &header).await;
    assert_eq!(unlisted.status, 403);
    assert!(unlisted.text().contains("closed"), "{}", unlisted.text());
    follow_with(&node, &["open:1", "closed"], &subscriber(&["closed"])).await;
}

#[tokio::test]
async fn authorization_details_of_the_newest_draft_list_topics() {
    let node = node().await;
    let details = |actions: &[&str], topics: Value| {
        let detail = json!({"type": "https://mercure.rocks/authorization-detail", "actions": actions, "topics": topics});
        claims(json!({"authorization_details": [{"type": "other"}, detail]}))
    };
    let topics = json!([{"match": "a{b}"}, {"match": "https://example.com/:id", "match_type": "urlpattern"}]);
    let both = details(&["subscribe", "publish"], topics);
    let mut stream = follow_with(&node, &["https://example.com/1"], &both).await;
    let header = format!("Bearer {both}");
    let fields = [("topic", "https://example.com/1"), ("data", "1"), ("private", "on")];
    published(post_with(&node, &fields, &[("Authorization", &header)]).await);
    assert_eq!(next_data(&mut stream).await, "1");
    assert_eq!(publish_as(&node, &both, &["a{b}"]).await.status, 200);
    assert_eq!(publish_as(&node, &both, &["axb"]).await.status, 403);
    for broken in [
        json!([{"match": "(a)", "match_type": "urlpattern"}]),
        json!([{"match": "a", "match_type": "x"}]),
        json!([]),
    ] {
        let answer = publish_as(&node, &details(&["publish"], broken), &["a"]).await;
        assert_eq!(answer.status, 401, "{answer:?}");
    }
}

#[tokio::test]
async fn a_subscribers_stream_ends_when_its_token_expires() {
    let node = node().await;
    let token = token::token(2., json!({"mercure": {"subscribe": ["*"]}}));
    let mut stream = follow_with(&node, &["a"], &token).await;
    assert_eq!(stream.try_event().await, None);
    let header = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(refused(&node, &path(&["a"]), &header).await.status, 401);
}
