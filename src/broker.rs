//! What carries publications between nodes. The hub is handed everything through one sink, in the
//! order the broker has it; nothing goes past the broker to local subscribers.

mod announcement;
mod config;
mod contract;
mod event;
mod memory;
mod presence;
mod queue;
mod receipt;
mod redis;
mod revocation;
mod survey;
mod unavailable;

use std::sync::Arc;

pub use self::announcement::{Announcement, Announcing, NodeStage};
pub use self::config::Config;
pub use self::contract::{Broker, PAGE_MAX, Page};
pub use self::event::{BrokerEvent, Sink};
pub use self::presence::{
    ATTENDANCES_MAX, Attendance, MEMBERS_MAX, MembershipState, Presences, RENEWALS_MAX, Renewal,
};
pub use self::receipt::Receipt;
/// For the fuzz targets.
#[doc(hidden)]
pub use self::redis::{connection::resp, header};
pub use self::redis::{secret::Secret, url::Url};
pub use self::revocation::{KnownRevocations, REVOCATIONS_MAX, REVOKING_MAX, Revocation, Revoking};
pub use self::survey::{
    Answers, Forbidden, MasterSurvey, RequiredVersion, RulesFound, Survey, SurveyReading,
};
pub use self::unavailable::{TOO_LARGE, Unavailable};
use crate::publication::NodeId;

/// Starts the broker of the configuration; its tasks run on the current runtime.
pub fn connect(config: &Config, node: NodeId, sink: Sink) -> Arc<dyn Broker> {
    match &config.url {
        Url::Memory => Arc::new(memory::MemoryBroker::start(config, sink)),
        Url::Redis(deployment) => {
            Arc::new(redis::RedisBroker::start(config, deployment, node, sink))
        }
    }
}

/// The broker of the configuration for a command that takes part in a running fleet for a while and changes
/// nothing of it.
pub fn visit(config: &Config, node: NodeId, sink: Sink) -> Arc<dyn Broker> {
    match &config.url {
        Url::Memory => Arc::new(memory::MemoryBroker::start(config, sink)),
        Url::Redis(deployment) => {
            Arc::new(redis::RedisBroker::visit(config, deployment, node, sink))
        }
    }
}

/// Asks Redis what it is like, all masters at once; changes nothing there. Takes some ten seconds at most.
/// None: there is no Redis to ask. Err: no master could be found, and why.
pub async fn survey(config: &Config) -> Option<Result<Survey, String>> {
    match &config.url {
        Url::Memory => None,
        Url::Redis(deployment) => Some(redis::survey::survey(config, deployment).await),
    }
}
