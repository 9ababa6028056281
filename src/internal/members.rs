//! `/api/presence`: the members of a channel.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::answer::{ApiResponse, error, object};
use super::channel::of_path;
use crate::presence::Presence;
use crate::publication::{Channel, Member, Members};
use crate::rules::Rules;

/// The members of the channel on all nodes.
pub async fn answer(presence: &Presence, rules: &Rules, name: &str) -> ApiResponse {
    let channel = match of_path(name) {
        Ok(channel) => channel,
        Err(why) => return error(StatusCode::BAD_REQUEST, "bad_request", &why),
    };
    if !rules.of(channel.as_str()).presence {
        let message = rules.explain_not_kept("presence", channel.as_str());
        return error(StatusCode::NOT_FOUND, "not_found", &message);
    }
    match presence.members(channel.clone()).await {
        Ok(members) => object(StatusCode::OK, &list(&channel, &members)),
        Err(why) => error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &why.to_string()),
    }
}

/// The members as JSON; `truncated` only if some are missing.
fn list(channel: &Channel, members: &Members) -> Value {
    let list: Vec<_> = members.list.iter().map(member).collect();
    let mut answer = json!({"channel": channel.as_str(), "members": list});
    if members.truncated {
        answer["truncated"] = true.into();
    }
    answer
}

fn member(member: &Member) -> Value {
    let mut object = json!({"user": member.user.as_deref(), "sessions": member.sessions});
    if let Some(info) = &member.info {
        object["info"] = serde_json::from_str(info.json()).unwrap_or_default();
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::UserInfo;

    #[test]
    fn members_are_listed_and_a_truncated_list_is_marked() {
        let channel = Channel::new("chat:1").unwrap();
        let (info, none) = (UserInfo::new(r#"{"name":"Ada"}"#, 5), None);
        let member = |user: Option<&str>, sessions, info| {
            let user = user.map(Into::into);
            Member { user, sessions, info }
        };
        let members = vec![member(None, 3, none), member(Some("u1"), 2, info)];
        let members = Members { list: members, truncated: false };
        let expected = json!({"channel": "chat:1", "members": [
            {"user": null, "sessions": 3}, {"user": "u1", "sessions": 2, "info": {"name": "Ada"}},
        ]});
        assert_eq!(list(&channel, &members), expected);
        let part = list(&channel, &Members { truncated: true, ..members });
        assert_eq!(part["truncated"], true);
    }
}
