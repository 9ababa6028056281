//! `/api/disconnect`: ends a user's sessions on every node, and revokes their tokens.

use hyper::StatusCode;
use serde_json::json;

use super::answer::{ApiResponse, error, object};
use crate::broker::Broker;
use crate::http::Query;
use crate::session::{Users, disconnect};

/// The longest user name, in bytes.
const USER_BYTES_MAX: usize = 255;

/// Ends the user's sessions on this node, and through the broker on all others. If the broker fails, the sessions
/// here stay ended, and 503 shows that the other nodes may not know.
pub(super) async fn answer(broker: &dyn Broker, users: &Users, query: Query<'_>) -> ApiResponse {
    let user = match user(query) {
        Ok(user) => user,
        Err(why) => return error(StatusCode::BAD_REQUEST, "bad_request", why),
    };
    let (disconnected, told) = disconnect(broker, users, &user).await;
    match told {
        Ok(()) => {
            let body = json!({"user": user, "disconnected": disconnected});
            object(StatusCode::ACCEPTED, &body)
        }
        Err(why) => error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &why.to_string()),
    }
}

/// The user in the query. Fails if there is not exactly one, or it is invalid.
fn user(query: Query<'_>) -> Result<String, &'static str> {
    let name = query.only("user").ok().flatten().ok_or("give one user: ?user=USER")?;
    let name = name.decoded().map_err(|_| "a user's name must be UTF-8")?;
    let fits = (1..=USER_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    match fits {
        true => Ok(name.into_owned()),
        false => Err("a user's name must be 1 to 255 bytes without control characters"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(query: &str) -> Result<String, &'static str> {
        super::user(Query::new(Some(query)))
    }

    #[test]
    fn the_disconnect_query_names_one_percent_encoded_user() {
        for (query, name) in [
            ("user=ada", "ada"),
            ("x=1&user=a%26b%20%C3%A9", "a&b é"),
            ("user=a+b=c", "a+b=c"),
            ("user=100%", "100%"),
        ] {
            assert_eq!(user(query).as_deref(), Ok(name));
        }
        let long = |bytes: usize| format!("user={}", "x".repeat(bytes));
        assert!(user(&long(255)).is_ok());
        for query in ["", "user", "user=", "users=ada", "user=a&user=b", "user=%00", "user=%FF"] {
            assert!(user(query).is_err(), "{query}");
        }
        assert!(user(&long(256)).is_err());
    }
}
