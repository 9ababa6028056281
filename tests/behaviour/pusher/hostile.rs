//! Clients that misuse the protocol: each ends only its own connection.

use serde_json::json;
use testkit::node::Node;

use super::{APP, APPS, App, Pusher, api, event, publish};

#[tokio::test]
async fn a_flood_of_wrong_signatures_ends_that_connection_alone() {
    let node = Node::standalone(&[APPS]).await;
    let mut victim = Pusher::subscribed(&node, APP, "news").await;
    let mut flooder = Pusher::connect(&node, APP).await;
    for number in 0..150 {
        let data = json!({"channel": format!("private-{number}"), "auth": format!("app-key:{number:064x}")});
        let message = json!({"event": "pusher:subscribe", "data": data}).to_string();
        if flooder.client.try_send(message).await.is_err() {
            break;
        }
    }
    assert_eq!(u16::from(flooder.closed().await.code), 4099);
    publish(&node, "news", "still here").await;
    assert_eq!(victim.event().await, event("message", "news", "still here"));
}

#[tokio::test]
async fn giant_data_about_users_is_refused_with_its_bound() {
    let node = Node::standalone(&[APPS]).await;
    let mut pusher = Pusher::connect(&node, APP).await;
    let giant = "x".repeat(20_000);
    pusher.ask("presence-room", Some(json!({"user_id": "u", "user_info": {"a": giant}}))).await;
    let refused = pusher.event().await;
    assert!(
        refused["data"]["error"].as_str().is_some_and(|it| it.contains("10240 bytes")),
        "{refused}"
    );
    pusher.sign_in(json!({"id": "u", "user_info": {"a": giant}})).await;
    let refused = pusher.event().await;
    assert!(
        refused["data"]["message"].as_str().is_some_and(|it| it.contains("10240 bytes")),
        "{refused}"
    );
    pusher.quiet().await;
}

#[tokio::test]
async fn deep_and_broken_messages_are_answered_and_many_of_them_end_the_connection() {
    let node = Node::standalone(&[APPS]).await;
    let mut pusher = Pusher::connect(&node, APP).await;
    let deep = format!(
        r#"{{"event":"client-a","channel":"private-a","data":{}1{}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    for message in [deep.as_str(), "{", "[]", "hello", r#"{"event":"pusher:subscribe","data":[]}"#]
    {
        pusher.client.send(message.to_owned()).await;
        assert_eq!(pusher.event().await["event"], "pusher:error", "{message}");
    }
    for _ in 0..150 {
        if pusher.client.try_send("{".to_owned()).await.is_err() {
            break;
        }
    }
    assert_eq!(u16::from(pusher.closed().await.code), 4099);
}

#[tokio::test]
async fn a_flood_of_channels_is_refused_beyond_the_bound_and_keeps_nothing_of_the_refused() {
    const CHANNELS: usize = 10;
    let node = Node::standalone(&[APPS, &format!("session.channels_max={CHANNELS}")]).await;
    let mut victim = Pusher::subscribed(&node, APP, "news").await;
    let mut flooder = Pusher::connect(&node, APP).await;
    for kind in ["news", "private", "presence"] {
        for number in 0..CHANNELS * 3 {
            let member = (kind == "presence").then(|| json!({"user_id": "u"}));
            flooder.ask(&format!("{kind}-{number}"), member).await;
            let answer = flooder.event().await;
            let is_within = kind == "news" && number < CHANNELS;
            match answer["event"].as_str() {
                Some("pusher_internal:subscription_succeeded") if is_within => {}
                Some("pusher:subscription_error") if !is_within => {
                    let error = answer["data"]["error"].as_str().expect("a reason");
                    assert!(error.contains(&CHANNELS.to_string()), "{error} names the bound");
                }
                _ => panic!("{kind}-{number}: {answer}"),
            }
        }
    }
    assert_eq!(node.metric("tidegate_subscriptions").await, CHANNELS as f64 + 1.0);
    // A refused channel is no subscription: when there is room, it can be asked for.
    flooder.send("pusher:unsubscribe", json!({"channel": "news-0"})).await;
    flooder.subscribe("private-0", None).await;
    publish(&node, "news", "still here").await;
    assert_eq!(victim.event().await, event("message", "news", "still here"));
}

#[tokio::test]
async fn data_larger_than_a_message_ends_that_connection_alone() {
    let node = Node::standalone(&[APPS]).await;
    let mut victim = Pusher::subscribed(&node, APP, "news").await;
    for kind in ["pusher:signin", "pusher:subscribe"] {
        let mut pusher = Pusher::connect(&node, APP).await;
        let giant = "x".repeat(1024 * 1024);
        let data = json!({"channel": "presence-room", "auth": "a:b", "user_data": giant, "channel_data": giant});
        let message = json!({"event": kind, "data": data}).to_string();
        // The node may have closed before all of it is sent.
        let _ = pusher.client.try_send(message).await;
        assert_eq!(u16::from(pusher.closed().await.code), 4100, "{kind}");
    }
    publish(&node, "news", "still here").await;
    assert_eq!(victim.event().await, event("message", "news", "still here"));
}

#[tokio::test]
async fn a_flood_of_requests_with_wrong_signatures_is_refused_and_publishes_nothing() {
    let node = Node::standalone(&[APPS]).await;
    let mut victim = Pusher::subscribed(&node, APP, "news").await;
    let forger = App { secret: "another secret", ..APP };
    let forged = json!({"name": "order", "channel": "news", "data": "forged"}).to_string();
    let refused = (0..200).map(async |_| {
        api::call(&node, forger, "POST", "/apps/1/events", "", &forged).await.status
    });
    let statuses = futures_util::future::join_all(refused).await;
    assert!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
    let answer =
        api::trigger(&node, json!({"name": "order", "channel": "news", "data": "true"})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(victim.event().await, event("order", "news", "true"), "and none before");
}
