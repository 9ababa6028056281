//! `/api/top`: this node's busiest channels.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::answer::{ApiResponse, error, object};
use crate::http::{Parameter, Query, Repeated};
use crate::hub::{Registry, TrafficMeasure};

/// The default number of channels in an answer.
const LIMIT: usize = 20;

/// The most channels in one answer.
const LIMIT_MAX: usize = 1000;

/// What channels are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// Recent traffic.
    Carried(TrafficMeasure),
    /// Current subscribers.
    Subscribers,
}

const MEASURES: [(&str, Measure); 3] = [
    ("publications", Measure::Carried(TrafficMeasure::Publications)),
    ("bytes", Measure::Carried(TrafficMeasure::Bytes)),
    ("subscribers", Measure::Subscribers),
];

pub(super) fn answer(registry: &Registry, query: Query<'_>) -> ApiResponse {
    let (by, measure, limit) = match asked(query) {
        Ok(asked) => asked,
        Err(why) => return error(StatusCode::BAD_REQUEST, "bad_request", &why),
    };
    match measure {
        Measure::Carried(measure) => carried(registry, by, measure, limit),
        Measure::Subscribers => {
            let (most, total) = registry.most_subscribed(limit);
            let list = most.iter().map(|it| channel(it.channel.as_str(), it.subscribers as u64, 0));
            let list: Vec<_> = list.collect();
            object(StatusCode::OK, &json!({"by": by, "total": total, "channels": list}))
        }
    }
}

fn carried(registry: &Registry, by: &str, measure: TrafficMeasure, limit: usize) -> ApiResponse {
    let Some(busiest) = registry.busiest(measure, limit) else {
        let message = "telemetry.top_channels is 0: nothing is counted";
        return error(StatusCode::NOT_FOUND, "not_found", message);
    };
    let list = busiest.channels.iter().map(|it| channel(&it.channel, it.count, it.error));
    let list: Vec<_> = list.collect();
    let seconds = (busiest.covered.as_secs_f64() * 1e3).round() / 1e3;
    let total = busiest.total;
    let body = json!({"by": by, "seconds": seconds, "total": total, "channels": list});
    object(StatusCode::OK, &body)
}

fn channel(name: &str, count: u64, error: u64) -> Value {
    json!({"channel": name, "count": count, "error": error})
}

/// The measure and limit in the query. Fails with the allowed values.
fn asked(query: Query<'_>) -> Result<(&'static str, Measure, usize), String> {
    let by = query.only("by").ok().flatten().map(Parameter::as_sent);
    let Some((by, measure)) = MEASURES.iter().find(|(name, _)| Some(*name) == by) else {
        return Err(
            "by must be one of publications, bytes, subscribers: ?by=publications".to_owned()
        );
    };
    let limit = match query.only("limit") {
        Ok(None) => Some(LIMIT),
        Ok(Some(limit)) => limit.whole_number().filter(|limit| (1..=LIMIT_MAX).contains(limit)),
        Err(Repeated) => None,
    };
    let limit = limit.ok_or_else(|| format!("limit must be a whole number, 1 to {LIMIT_MAX}"))?;
    Ok((by, *measure, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<(&'static str, Measure, usize), String> {
        super::asked(Query::new(Some(query)))
    }

    #[test]
    fn a_top_query_names_one_measure_and_at_most_one_limit() {
        let publications = Measure::Carried(TrafficMeasure::Publications);
        for (query, expected) in [
            ("by=publications", ("publications", publications, LIMIT)),
            ("limit=1&by=bytes", ("bytes", Measure::Carried(TrafficMeasure::Bytes), 1)),
            ("by=subscribers&limit=1000&x=1", ("subscribers", Measure::Subscribers, 1000)),
        ] {
            assert_eq!(asked(query), Ok(expected));
        }
        for query in ["", "by", "by=", "by=names", "by=bytes&by=bytes"] {
            assert!(asked(query).unwrap_err().contains("publications, bytes, subscribers"));
        }
        for limit in ["", "0", "-1", "+5", "1001", "many", "1&limit=2"] {
            let why = asked(&format!("by=bytes&limit={limit}")).unwrap_err();
            assert_eq!(why, "limit must be a whole number, 1 to 1000", "{limit}");
        }
    }
}
