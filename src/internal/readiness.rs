//! `/readyz`: whether this node is ready for more clients. Each check with its values, passed or not.
//!
//! Answered on the same runtime as everything else, from values in memory: it never waits for Redis. While all
//! workers are blocked no request is answered, which a probe takes as "not ready" too.

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::answer::{ApiResponse, object};
use super::parts::InternalState;
use crate::drain::{Drain, Phase};
use crate::hub::Hub;
use crate::lag::Lag;
use crate::memory::MemoryMonitor;
use crate::telemetry::{self, Unready};

/// The node's readiness at one moment.
pub(super) struct Readiness([Check; 4]);

/// One condition of readiness.
struct Check {
    of: Unready,
    /// The fault, for people. None: the check passed.
    why: Option<String>,
    /// The values it was decided by.
    figures: Value,
}

impl Readiness {
    pub fn of(parts: &InternalState) -> Self {
        let InternalState { drain, hub, memory, lag, .. } = parts;
        Self([drains(drain), broker_is_ready(hub), has_memory(memory), has_no_lag(lag)])
    }

    pub fn is_ready(&self) -> bool {
        self.0.iter().all(|check| check.why.is_none())
    }

    /// 200 or 503, with all reasons and all checks.
    pub fn answer(self) -> ApiResponse {
        let reasons: Vec<String> = self.0.iter().filter_map(Check::reason).collect();
        let is_ready = reasons.is_empty();
        let checks: Map<_, _> =
            self.0.into_iter().map(|it| (it.of.label().to_owned(), it.answer())).collect();
        let mut body = json!({"ready": is_ready, "checks": checks});
        if !is_ready {
            body["reasons"] = json!(reasons);
        }
        object(if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &body)
    }

    /// Sets `tidegate_unready`.
    pub fn measure(&self) {
        for check in &self.0 {
            telemetry::unready(check.of, check.why.is_some());
        }
    }
}

impl Check {
    /// The reason in one line. Scripts match its first word.
    fn reason(&self) -> Option<String> {
        let why = self.why.as_ref()?;
        Some(match self.of {
            Unready::Drain => why.clone(),
            of => format!("{}: {why}", of.label()),
        })
    }

    fn answer(self) -> Value {
        let mut answer = self.figures;
        answer["ok"] = self.why.is_none().into();
        if let Some(why) = self.why {
            answer["why"] = why.into();
        }
        answer
    }
}

fn drains(drain: &Drain) -> Check {
    let phase = drain.phase();
    let why = (phase != Phase::Serving).then(|| "draining".to_owned());
    Check { of: Unready::Drain, why, figures: json!({"phase": phase.name()}) }
}

fn broker_is_ready(hub: &Hub) -> Check {
    let broker = hub.broker();
    let figures = json!({"kind": broker.kind()});
    Check { of: Unready::Broker, why: broker.ready().err(), figures }
}

fn has_memory(memory: &MemoryMonitor) -> Check {
    let why = memory.ready().err().map(|short| short.to_string());
    let now = memory.usage();
    let figures = json!({"used_bytes": now.used, "max_bytes": now.max});
    Check { of: Unready::Memory, why, figures }
}

fn has_no_lag(lag: &Lag) -> Check {
    let now = lag.measurement();
    let why = now.ready().err().map(|lagging| lagging.to_string());
    let millis = |it: std::time::Duration| (it.as_secs_f64() * 1e4).round() / 10.;
    // Below the limit no peak is recorded; the current lag is then the peak.
    let peak = now.peak.max(now.lag);
    let figures =
        json!({"lag_ms": millis(now.lag), "max_ms": millis(now.max), "peak_ms": millis(peak)});
    Check { of: Unready::Lag, why, figures }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn check(of: Unready, why: Option<&str>) -> Check {
        Check { of, why: why.map(str::to_owned), figures: json!({"figure": 1}) }
    }

    async fn answered(checks: [Check; 4]) -> (StatusCode, Value) {
        let answer = Readiness(checks).answer();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn readyz_lists_every_check_and_a_reason_for_each_failed_one() {
        let well = [Unready::Drain, Unready::Broker, Unready::Memory, Unready::Lag];
        let (status, body) = answered(well.map(|of| check(of, None))).await;
        assert_eq!(status, StatusCode::OK);
        let ok = json!({"ok": true, "figure": 1});
        let checks = json!({"drain": ok, "broker": ok, "memory": ok, "lag": ok});
        assert_eq!(body, json!({"ready": true, "checks": checks}));

        let (status, body) = answered([
            check(Unready::Drain, Some("draining")),
            check(Unready::Broker, Some("redis is away")),
            check(Unready::Memory, None),
            check(Unready::Lag, Some("late")),
        ])
        .await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body["ready"], false);
        assert_eq!(body["reasons"], json!(["draining", "broker: redis is away", "lag: late"]));
        assert_eq!(body["checks"]["lag"], json!({"ok": false, "figure": 1, "why": "late"}));
        assert_eq!(body["checks"]["memory"], ok);
    }
}
