//! The maximum size of a publication at one server. A larger one is refused here: the server would
//! close the connection, and with it all other publications on their way.

use ::redis::{Pipeline, Value};

use crate::broker::redis::context::RedisContext;
use crate::broker::redis::header;
use crate::broker::redis::publishing::master_queue::QueuedPublication;
use crate::broker::unavailable::TOO_LARGE;
use crate::telemetry;

/// Redis' default, also assumed for a server whose settings cannot be read.
const BULK_BYTES_DEFAULT: usize = 512 << 20;

/// Settings read with `CONFIG GET`, one by one, because some servers take a single name.
const SETTINGS: [&str; 2] = ["proto-max-bulk-len", "client-query-buffer-limit"];

/// How many bytes beside an argument the server's buffer for one connection may hold: other data
/// that is read with it, and the growth of the buffer.
const QUERY_BUFFER_SLACK: usize = 64 << 10;

#[derive(Debug)]
pub struct BatchLimits {
    /// Maximum length of an argument.
    argument_bytes: usize,
    /// False once the server has refused `CONFIG GET`: each refusal would appear in its ACL log.
    is_queried: bool,
    /// A publication that was too large has been logged.
    is_reported: bool,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { argument_bytes: BULK_BYTES_DEFAULT, is_queried: true, is_reported: false }
    }
}

impl BatchLimits {
    /// Adds the queries of the limits.
    pub fn add_queries(&self, pipeline: &mut Pipeline) {
        if self.is_queried {
            for setting in SETTINGS {
                pipeline.cmd("CONFIG").arg("GET").arg(setting);
            }
        }
    }

    /// `answers` begins with the replies to the queries of [`BatchLimits::add_queries`].
    pub fn learn(&mut self, answers: &[Value]) {
        let (true, [bulk, buffer, ..]) = (self.is_queried, answers) else { return };
        if matches!(bulk, Value::ServerError(_)) {
            *self = Self { is_queried: false, ..Self::default() };
            return;
        }
        let buffer = number(buffer).filter(|bytes| *bytes > 0);
        let buffer = buffer.map(|bytes| bytes.saturating_sub(QUERY_BUFFER_SLACK));
        let argument_bytes =
            number(bulk).unwrap_or(BULK_BYTES_DEFAULT).min(buffer.unwrap_or(usize::MAX));
        if argument_bytes != self.argument_bytes {
            *self = Self { argument_bytes, ..Self::default() };
        }
    }

    /// Refuses publications for which the server would close the connection, and keeps the others.
    /// `key`: signs their header lines.
    pub fn refuse_too_large(
        &mut self,
        batch: &mut Vec<QueuedPublication>,
        context: &RedisContext,
        key: Option<&str>,
    ) {
        let mut excess = None;
        let refused = batch.extract_if(.., |queued| {
            let bytes = self.excess(queued, context, key);
            excess = bytes.or(excess);
            bytes.is_some()
        });
        refused.for_each(|queued| queued.request.reply(Err(TOO_LARGE)));
        if let (Some(bytes), false) = (excess, self.is_reported) {
            self.is_reported = true;
            telemetry::broker_takes_no_more_than(self.argument_bytes, bytes);
        }
    }

    /// The publication's bytes in one argument, if they are too many for the server.
    fn excess(
        &self,
        queued: &QueuedPublication,
        context: &RedisContext,
        key: Option<&str>,
    ) -> Option<usize> {
        let publication = &queued.request.publication;
        let payload = publication.payload.len();
        if payload.saturating_add(header::HEADER_BYTES_MAX) <= self.argument_bytes {
            return None;
        }
        let bytes = match context.appends(queued.request.channel.as_str()) {
            true => payload,
            false => header::write(publication, context.node, key).len(),
        };
        (bytes > self.argument_bytes).then_some(bytes)
    }
}

/// The value of `["proto-max-bulk-len", "536870912"]`, or of the same as a map.
fn number(answer: &Value) -> Option<usize> {
    let text = match answer {
        Value::Array(pair) => pair.get(1)?,
        Value::Map(pairs) => &pairs.first()?.1,
        _ => return None,
    };
    match text {
        Value::BulkString(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        Value::SimpleString(digits) => digits.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(values: [&str; 2]) -> Vec<Value> {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let pairs = SETTINGS.iter().zip(values);
        pairs.map(|(name, value)| Value::Array(vec![bulk(name), bulk(value)])).collect()
    }

    #[test]
    fn the_smaller_of_the_two_server_limits_counts() {
        let mut limits = BatchLimits::default();
        limits.learn(&answers(["1048576", "1073741824"]));
        assert_eq!(limits.argument_bytes, 1 << 20);
        limits.learn(&answers(["536870912", "1048576"]));
        assert_eq!(limits.argument_bytes, (1 << 20) - QUERY_BUFFER_SLACK);
        limits.learn(&answers(["536870912", "0"]));
        assert_eq!(limits.argument_bytes, 512 << 20);
    }

    #[test]
    fn a_server_that_refuses_its_settings_counts_as_default_and_is_not_queried_again() {
        let mut limits = BatchLimits::default();
        limits.learn(&answers(["1048576", "0"]));
        let refusal = ::redis::parse_redis_value(b"-NOPERM no\r\n").unwrap();
        limits.learn(&[refusal.clone(), refusal]);
        assert_eq!(limits.argument_bytes, BULK_BYTES_DEFAULT);
        let mut questions = Pipeline::new();
        limits.add_queries(&mut questions);
        assert!(questions.is_empty());
        limits.learn(&answers(["1", "1"]));
        assert_eq!(
            limits.argument_bytes, BULK_BYTES_DEFAULT,
            "the replies belong to other commands"
        );
    }
}
