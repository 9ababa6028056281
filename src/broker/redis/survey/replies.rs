//! Commands to one master, and the texts of its replies.

use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{Pipeline, RedisError, Value};
use tokio::time::timeout;

use crate::broker::redis::queries::NO_REPLY;
use crate::broker::survey::SurveyReading;

/// How long all replies to one pipeline may take together.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Each command has its own reply, which may be a [`Value::ServerError`].
pub async fn query(
    connection: &mut MultiplexedConnection,
    commands: &Pipeline,
) -> Result<Vec<Value>, String> {
    let replies = connection.req_packed_commands(commands, 0, commands.len());
    match timeout(ANSWER_TIMEOUT, replies).await {
        Ok(answers) => answers.map_err(|error| error.to_string()),
        Err(_) => Err(NO_REPLY.to_string()),
    }
}

/// The text of a reply; of a list the last one, because `CONFIG GET` returns the name first.
pub fn text(answer: Value) -> SurveyReading<String> {
    match answer.extract_error().map_err(|error| error_text(&error))? {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text),
        Value::Int(number) => Ok(number.to_string()),
        Value::Array(mut values) => values.pop().map_or(Ok(String::new()), text),
        Value::Map(mut pairs) => pairs.pop().map_or(Ok(String::new()), |(_, value)| text(value)),
        Value::Nil => Ok(String::new()),
        other => Err(format!("an unexpected reply: {other:?}")),
    }
}

/// The server's error, without the crate's words around it.
pub fn error_text(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn replies_are_read_in_resp2_and_resp3() {
        let list = Value::Array(vec![bulk("timeout"), bulk("0")]);
        let map = Value::Map(vec![(bulk("timeout"), bulk("0"))]);
        assert_eq!([text(list), text(map)], [Ok("0".to_owned()), Ok("0".to_owned())]);
        assert_eq!(
            text(Value::Array(Vec::new())),
            Ok(String::new()),
            "Redis knows no such setting"
        );
        assert!(text(Value::Boolean(true)).is_err());
    }
}
