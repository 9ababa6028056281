//! The broker: carries publications between nodes. It hands every event to the hub through one
//! sink, in the broker's order. Publications for local subscribers take the same way.

mod announcement;
mod config;
mod contract;
mod event;
mod event_log;
mod memory;
mod presence;
mod queue;
mod receipt;
mod redis;
mod revocation;
mod run;
mod streams;
mod survey;
mod unavailable;

use std::sync::Arc;

pub use self::announcement::{Announcement, Announcing, NodeStage};
pub use self::config::Config;
pub use self::contract::{Broker, PAGE_MAX, Page};
pub use self::event::{BrokerEvent, Sink};
pub use self::event_log::{
    EVENT_CHANGES_MAX, EventBatch, EventChange, EventEdges, EventItem, EventLog, EventLogConfig,
    EventRenewal, PublishedEvent,
};
pub use self::presence::{
    ATTENDANCES_MAX, Attendance, MEMBERS_MAX, MembershipState, Presences, RENEWALS_MAX, Renewal,
};
pub use self::receipt::Receipt;
/// Public for the fuzz targets only.
#[doc(hidden)]
pub use self::redis::{connection::resp, header};
pub use self::redis::{secret::Secret, url::Url};
pub use self::revocation::{KnownRevocations, REVOCATIONS_MAX, REVOKING_MAX, Revocation, Revoking};
pub use self::run::{HistoryEnd, RunState, Runs};
pub use self::streams::{
    CommitOutcome, EXPIRY_FIELD, FIRST_FIELD, Removal, StoredStream, StreamCommit, StreamStore,
    TTL_FIELD,
};
pub use self::survey::{
    Answers, Forbidden, MasterSurvey, NodeFeature, RulesFound, Survey, SurveyReading,
};
pub use self::unavailable::{ENDED, NO_RUN, NO_STREAMS, TOO_LARGE, Unavailable};
use crate::publication::NodeId;

/// Starts the configured broker. Its tasks run on the current Tokio runtime.
pub fn connect(config: &Config, node: NodeId, sink: Sink) -> Arc<dyn Broker> {
    match &config.url {
        Url::Memory => Arc::new(memory::MemoryBroker::start(config, sink)),
        Url::Redis(deployment) => {
            Arc::new(redis::RedisBroker::start(config, deployment, node, sink))
        }
    }
}

/// Starts the configured broker for a command that joins a running fleet for a short time and
/// changes nothing in it.
pub fn connect_for_command(config: &Config, node: NodeId, sink: Sink) -> Arc<dyn Broker> {
    match &config.url {
        Url::Memory => Arc::new(memory::MemoryBroker::start(config, sink)),
        Url::Redis(deployment) => {
            Arc::new(redis::RedisBroker::connect_for_command(config, deployment, node, sink))
        }
    }
}

/// Queries all Redis masters at once without changing anything there. Takes about ten seconds at
/// most. `None`: the broker is not Redis. `Err`: no master was found, and why.
pub async fn survey(config: &Config) -> Option<Result<Survey, String>> {
    match &config.url {
        Url::Memory => None,
        Url::Redis(deployment) => Some(redis::survey::survey(config, deployment).await),
    }
}
