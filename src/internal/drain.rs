//! `/api/drain`: drains the node, or sheds a share of its connections.

use hyper::StatusCode;
use serde_json::json;

use super::answer::{ApiResponse, error, object};
use crate::drain::{AlreadyShedding, Drain, Phase};
use crate::http::Query;
use crate::hub::Hub;
use crate::telemetry;

/// Without a query the node drains as on SIGTERM; further requests change nothing. With `percent=P` the node sheds
/// that share of its connections, the oldest, and keeps running.
pub(super) fn answer(drain: &Drain, hub: &Hub, query: Query<'_>) -> ApiResponse {
    match percent(query) {
        Ok(None) => leave(drain, hub),
        Ok(Some(percent)) => shed(drain, hub, percent),
        Err(why) => error(StatusCode::BAD_REQUEST, "bad_request", why),
    }
}

fn leave(drain: &Drain, hub: &Hub) -> ApiResponse {
    drain.enter(Phase::Leaving);
    let config = drain.config();
    let body = json!({
        "phase": drain.phase().name(),
        "connections": hub.registry().connection_count(),
        "delay_ms": config.delay.as_millis() as u64,
        "period_ms": config.period.as_millis() as u64,
    });
    object(StatusCode::ACCEPTED, &body)
}

fn shed(drain: &Drain, hub: &Hub, percent: usize) -> ApiResponse {
    let (connections, period) = (hub.registry().connections(), drain.config().period);
    let total = connections.len();
    let count = (total * percent).div_ceil(100);
    match drain.shed(connections, count, period, || true) {
        Ok(()) => {
            telemetry::shedding("POST /api/drain", count, period);
            let period_ms = period.as_millis() as u64;
            let body = json!({"connections": total, "shedding": count, "period_ms": period_ms});
            object(StatusCode::ACCEPTED, &body)
        }
        Err(AlreadyShedding) => {
            let message =
                "connections are already being closed: the node is draining, or sheds some";
            error(StatusCode::CONFLICT, "conflict", message)
        }
    }
}

/// The percentage in the query. None: the query is empty.
fn percent(query: Query<'_>) -> Result<Option<usize>, &'static str> {
    const ONE_OR_NONE: &str = "give one percentage, ?percent=10, or no query to drain the node";
    let mut pairs = query.pairs();
    let value = match pairs.next() {
        None => return Ok(None),
        Some(("percent", Some(value))) => value,
        Some(_) => return Err(ONE_OR_NONE),
    };
    let percent = value.whole_number().filter(|percent| (1..=100).contains(percent));
    let percent = percent.ok_or("percent must be a whole number from 1 to 100")?;
    match pairs.next() {
        None => Ok(Some(percent)),
        Some(_) => Err(ONE_OR_NONE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_query_is_empty_or_one_percentage() {
        for (query, given) in
            [("", None), ("&", None), ("percent=1", Some(1)), ("percent=100", Some(100))]
        {
            assert_eq!(percent(Query::new(Some(query))), Ok(given), "{query}");
        }
        for query in [
            "percent",
            "percent=",
            "percent=0",
            "percent=101",
            "percent=-1",
            "percent=+5",
            "percent=1.5",
            "percent=10%25",
            "percent=10&percent=20",
            "percents=10",
            "percent=10&force=1",
            "10",
        ] {
            assert!(percent(Query::new(Some(query))).is_err(), "{query}");
        }
    }
}
