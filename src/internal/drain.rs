//! `/api/drain`: the node leaves, or a share of its connections does.

use hyper::StatusCode;
use serde_json::json;

use super::answer::{ApiResponse, error, object};
use crate::drain::{AlreadyShedding, Drain, Phase};
use crate::http::Query;
use crate::hub::Hub;
use crate::telemetry;

/// Without a query the node leaves as on SIGTERM, and asking again changes nothing. `percent=P` sends
/// that share of its oldest connections away, and the node stays.
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
            let message = "connections are being closed already: the node leaves, or sheds some";
            error(StatusCode::CONFLICT, "conflict", message)
        }
    }
}

/// The percentage that the query gives. None: it has none.
fn percent(query: Query<'_>) -> Result<Option<usize>, &'static str> {
    const ONE_OR_NONE: &str = "give nothing, and the node leaves, or one percentage: ?percent=10";
    let mut pairs = query.pairs();
    let value = match pairs.next() {
        None => return Ok(None),
        Some(("percent", Some(value))) => value,
        Some(_) => return Err(ONE_OR_NONE),
    };
    let percent = value.whole_number().filter(|percent| (1..=100).contains(percent));
    let percent = percent.ok_or("percent is a whole number from 1 to 100")?;
    match pairs.next() {
        None => Ok(Some(percent)),
        Some(_) => Err(ONE_OR_NONE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_one_percentage_or_nothing() {
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
