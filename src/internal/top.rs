//! `/api/top`: this node's busiest channels.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{Answer, error, object};
use crate::hub::{By, Registry};

/// How many channels are answered, unless it is said.
const LIMIT: usize = 20;

/// Most channels in one answer.
const LIMIT_MAX: usize = 1000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// What was carried of late.
    Carried(By),
    /// Subscribers as they are now.
    Subscribers,
}

const MEASURES: [(&str, Measure); 3] = [
    ("publications", Measure::Carried(By::Publications)),
    ("bytes", Measure::Carried(By::Bytes)),
    ("subscribers", Measure::Subscribers),
];

pub(super) fn answer(registry: &Registry, query: Option<&str>) -> Answer {
    let (by, measure, limit) = match asked(query.unwrap_or_default()) {
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

fn carried(registry: &Registry, by: &str, measure: By, limit: usize) -> Answer {
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

/// What the query asks for, and how many of it; or what is allowed.
fn asked(query: &str) -> Result<(&'static str, Measure, usize), String> {
    let by =
        one(query, "by").and_then(|word| MEASURES.iter().find(|(name, _)| Some(*name) == word));
    let Some((by, measure)) = by else {
        return Err("by is one of publications, bytes, subscribers: ?by=publications".to_owned());
    };
    let limit = one(query, "limit").and_then(|given| match given {
        None => Some(LIMIT),
        // Where a number is parsed `+5` is one.
        Some(number) if !number.bytes().all(|byte| byte.is_ascii_digit()) => None,
        Some(number) => number.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)),
    });
    let limit = limit.ok_or_else(|| format!("limit is a whole number, 1 to {LIMIT_MAX}"))?;
    Ok((by, *measure, limit))
}

/// What the query says of a key. None: it says more than one thing.
fn one<'a>(query: &'a str, key: &str) -> Option<Option<&'a str>> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut said = pairs.filter(|(name, _)| *name == key).map(|(_, value)| value);
    match (said.next(), said.next()) {
        (said, None) => Some(said),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_one_measure_and_at_most_one_limit() {
        let publications = Measure::Carried(By::Publications);
        for (query, expected) in [
            ("by=publications", ("publications", publications, LIMIT)),
            ("limit=1&by=bytes", ("bytes", Measure::Carried(By::Bytes), 1)),
            ("by=subscribers&limit=1000&x=1", ("subscribers", Measure::Subscribers, 1000)),
        ] {
            assert_eq!(asked(query), Ok(expected));
        }
        for query in ["", "by", "by=", "by=names", "by=bytes&by=bytes"] {
            assert!(asked(query).unwrap_err().contains("publications, bytes, subscribers"));
        }
        for limit in ["", "0", "-1", "+5", "1001", "many", "1&limit=2"] {
            let why = asked(&format!("by=bytes&limit={limit}")).unwrap_err();
            assert_eq!(why, "limit is a whole number, 1 to 1000", "{limit}");
        }
    }
}
