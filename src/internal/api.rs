//! `/api`: the paths, and the method of each.

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};

use super::answer::{ApiResponse, error, not_allowed};
use super::parts::InternalState;
use super::{channels, disconnect, drain, explain, members, publish, runs, top};
use crate::http::Query;

/// An API request by its path.
enum ApiRequest<'a> {
    Channels,
    Top,
    Explain,
    Disconnect,
    Drain,
    /// With the channel as in the path.
    Publish(&'a str),
    Presence(&'a str),
    End(&'a str),
    Renew(&'a str),
}

impl<'a> ApiRequest<'a> {
    fn of_path(path: &'a str) -> Option<Self> {
        Some(match path.strip_prefix("/api/")? {
            "channels" => Self::Channels,
            "top" => Self::Top,
            "explain" => Self::Explain,
            "disconnect" => Self::Disconnect,
            "drain" => Self::Drain,
            path => match path.split_once('/')? {
                ("publish", channel) => Self::Publish(channel),
                ("presence", channel) => Self::Presence(channel),
                ("end", channel) => Self::End(channel),
                ("renew", channel) => Self::Renew(channel),
                _ => return None,
            },
        })
    }

    /// The method it requires.
    fn method(&self) -> (Method, &'static str) {
        match self {
            Self::Channels | Self::Top | Self::Explain | Self::Presence(_) => (Method::GET, "GET"),
            Self::Disconnect | Self::Drain | Self::Publish(_) | Self::End(_) | Self::Renew(_) => {
                (Method::POST, "POST")
            }
        }
    }
}

pub async fn answer(parts: &InternalState, request: Request<Incoming>) -> ApiResponse {
    let InternalState { hub, presence, events, users, rules, .. } = parts;
    let (head, body) = request.into_parts();
    let Some(asked) = ApiRequest::of_path(head.uri.path()) else { return not_found() };
    let (method, name) = asked.method();
    if head.method != method {
        return not_allowed(name);
    }
    let query = Query::new(head.uri.query());
    match asked {
        ApiRequest::Channels => channels::answer(hub).await,
        ApiRequest::Top => top::answer(hub.registry(), query),
        ApiRequest::Explain => {
            explain::answer(&parts.auth, users.revocations(), rules, query).await
        }
        ApiRequest::Disconnect => disconnect::answer(hub.broker(), users, query).await,
        ApiRequest::Drain => drain::answer(&parts.drain, hub, query),
        ApiRequest::Publish(channel) => {
            publish::answer(hub, events, channel, &head.headers, body).await
        }
        ApiRequest::End(channel) => runs::end(hub, channel, body).await,
        ApiRequest::Renew(channel) => runs::renew(hub, channel).await,
        ApiRequest::Presence(channel) => members::answer(presence, rules, channel).await,
    }
}

fn not_found() -> ApiResponse {
    error(
        StatusCode::NOT_FOUND,
        "not_found",
        "there are POST /api/publish/{channel}, POST /api/end/{channel}, POST /api/renew/{channel}, GET /api/channels, GET /api/top?by=WHAT, \
         GET /api/presence/{channel}, GET /api/explain?channel=CHANNEL, POST /api/disconnect?user=USER and POST /api/drain",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_path_must_match_completely_and_its_rest_is_a_channel() {
        let channel = |path| match ApiRequest::of_path(path) {
            Some(ApiRequest::Publish(channel) | ApiRequest::Presence(channel)) => Some(channel),
            _ => None,
        };
        assert_eq!(channel("/api/publish/a/b"), Some("a/b"));
        assert_eq!(channel("/api/presence/"), Some(""));
        for path in ["/api/top", "/api/drain"] {
            assert!(ApiRequest::of_path(path).is_some(), "{path}");
        }
        for path in ["/api/", "/api/top/", "/api/topp", "/api/publish", "/api/users/a", "/top"] {
            assert!(ApiRequest::of_path(path).is_none(), "{path}");
        }
    }
}
