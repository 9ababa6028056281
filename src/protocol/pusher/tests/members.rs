//! What a session gets of the members of a channel.

use super::*;
use crate::framing::websocket;
use crate::protocol::SharedMembers;
use crate::publication::{Change, Member, Members, UserInfo};

fn members(users: &[&str]) -> Arc<SharedMembers> {
    let member = |user: &&str| Member {
        user: Some((*user).into()),
        sessions: 1,
        info: UserInfo::new(r#"{"n":1}"#, 5),
    };
    let list: Vec<Member> = [Member { user: None, sessions: 1, info: None }]
        .into_iter()
        .chain(users.iter().map(member))
        .collect();
    Arc::new(SharedMembers::new(Members { list, truncated: false }))
}

fn got(
    client: &TestClient,
    stamp: &mut Stamp,
    channel: &str,
    members: Arc<SharedMembers>,
) -> Vec<Value> {
    let reply = Reply::Joined { id: None, channel: Channel::new(channel).unwrap(), members };
    let frame = client.protocol.reply(&reply).unwrap();
    texts(&stamp(frame).unwrap_or_default())
}

fn joined(client: &TestClient, stamp: &mut Stamp, channel: &str, users: &[&str]) -> Vec<Value> {
    got(client, stamp, channel, members(users))
}

fn change(stamp: &mut Stamp, channel: &str, user: &str, change: Change) -> Vec<Value> {
    let info = UserInfo::new(r#"{"n":2}"#, 5).filter(|_| change == Change::Join);
    let push = Push::Presence { channel, user: Some(user.into()), change, info };
    let frame = Format::Pusher.push(&push).unwrap();
    texts(&stamp(frame).unwrap_or_default())
}

#[test]
fn a_member_gets_the_list_first_and_then_every_change_but_its_own() {
    let client = TestClient::new("");
    let mut stamp = client.protocol.member_stamp().unwrap();
    let room = "presence-room";
    let command =
        client.command(&client.subscribe(room, Some(r#"{"user_id":7,"user_info":{"n":1}}"#)));
    let Command::Subscribe { grant: Some(grant), .. } = command else { panic!("{command:?}") };
    assert_eq!((grant.user.as_deref(), grant.is_member), (Some("7"), true));
    assert_eq!(client.subscribed(room), [] as [Value; 0], "the list is not read yet");
    for (user, of_user) in [
        ("7", Change::Join),
        ("b", Change::Join),
        ("c", Change::Join),
        ("d", Change::Leave),
        ("e", Change::Leave),
    ] {
        assert_eq!(change(&mut stamp, room, user, of_user), [] as [Value; 0], "{user} is held");
    }
    let got = joined(&client, &mut stamp, room, &["7", "b", "d"]);
    let data: Value = serde_json::from_str(got[0]["data"].as_str().unwrap()).unwrap();
    let hash = json!({"7": {"n": 1}, "b": {"n": 1}, "d": {"n": 1}});
    assert_eq!(data, json!({"presence": {"count": 3, "ids": ["7", "b", "d"], "hash": hash}}));
    let mut news: Vec<_> = got[1..]
        .iter()
        .map(|it| (it["event"].as_str().unwrap(), it["data"].as_str().unwrap()))
        .collect();
    news.sort_unstable();
    let expected = [
        ("pusher_internal:member_added", r#"{"user_id":"c","user_info":{"n":2}}"#),
        ("pusher_internal:member_removed", r#"{"user_id":"d"}"#),
    ];
    assert_eq!(news, expected, "what the list does not have yet");
    assert_eq!(change(&mut stamp, room, "7", Change::Join), [] as [Value; 0]);
    let added = change(&mut stamp, room, "f", Change::Join);
    assert_eq!(added[0]["channel"], room);
    client.command(&json!({"event": "pusher:unsubscribe", "data": {"channel": room}}));
    assert_eq!(change(&mut stamp, room, "g", Change::Join), [] as [Value; 0]);
    let plain = websocket::message(PayloadKind::Text, b"{}");
    assert_eq!(stamp(plain.clone()), Some(plain));
}

#[test]
fn users_without_a_name_and_channels_of_other_kinds_have_no_members_to_tell() {
    let push = |channel, user: Option<&str>| {
        let (user, change) = (user.map(Into::into), Change::Join);
        Format::Pusher.push(&Push::Presence { channel, user, change, info: None })
    };
    assert!(push("presence-a", Some("u")).is_some());
    assert_eq!(push("presence-a", None), None);
    assert_eq!(push("private-a", Some("u")), None);
}

#[test]
fn a_join_that_comes_after_the_list_that_has_it_is_not_told_again() {
    let client = TestClient::new("");
    let mut stamp = client.protocol.member_stamp().unwrap();
    let room = "presence-room";
    client.command(&client.subscribe(room, Some(r#"{"user_id":"a"}"#)));
    let kept = members(&["a", "b", "c"]);
    got(&client, &mut stamp, room, kept.clone());
    let mut told = |user: &str, of_user| {
        let events = change(&mut stamp, room, user, of_user);
        events.iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect::<String>()
    };
    let (added, removed) = ("pusher_internal:member_added", "pusher_internal:member_removed");
    assert_eq!(told("b", Change::Join), "", "the list has it");
    assert_eq!(told("d", Change::Join), added);
    assert_eq!(told("b", Change::Leave), removed);
    assert_eq!(told("b", Change::Leave), "");
    assert_eq!(told("b", Change::Join), added, "it has left since");
    assert_eq!(told("d", Change::Leave), removed);
    drop(kept);
    assert_eq!(told("c", Change::Join), added, "no change comes so late");
}
