//! The master that sentinels monitor: they are polled, and the newest reply counts.

use std::time::Duration;

use ::redis::{Pipeline, RedisConnectionInfo, Value};

use super::epochs::Epochs;
use super::layout::Layout;
use super::server_poll::{ServerPoll, text};
use super::source::{TopologySource, UnknownTopology};
use crate::broker::redis::connection::server::ServerAddress;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::url::Deployment;

/// The sentinels, and their claims so far.
pub struct Sentinel {
    sentinels: Vec<ServerAddress>,
    service: String,
    /// Tried in this order.
    logins: Vec<RedisConnectionInfo>,
    poll: ServerPoll,
    epochs: Epochs,
}

impl Sentinel {
    pub fn new(sentinels: Vec<ServerAddress>, service: String, deployment: &Deployment) -> Self {
        let logins = match &deployment.sentinel_login {
            Some(login) => vec![login.clone()],
            // Sentinels without a configured login rarely require one; if they do, it is that of
            // Redis.
            None => vec![RedisConnectionInfo::default(), deployment.login.clone().set_db(0)],
        };
        Self { sentinels, service, logins, poll: ServerPoll::default(), epochs: Epochs::new(1) }
    }

    /// Both in one pipeline, so that they are consistent: only the second has the new master as
    /// soon as a failover has one, only the first has its epoch.
    fn commands(&self) -> Pipeline {
        let mut commands = Pipeline::new();
        commands.cmd("SENTINEL").arg("MASTER").arg(&self.service);
        commands.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service);
        commands
    }
}

impl TopologySource for Sentinel {
    const INTERVAL: Duration = Duration::from_secs(1);

    async fn query(&mut self, context: &RedisContext) -> Result<Layout, UnknownTopology> {
        let all = self.sentinels.len();
        let majority = all / 2 + 1;
        let (trust, commands) = (&context.trust, self.commands());
        let polled = self.poll.poll(&self.sentinels, &self.logins, trust, commands, majority);
        let answers = polled.await?;
        let claims = answers.iter().filter_map(|answer| claim(&answer.values));
        let Some((epoch, master)) = claims.max_by_key(|(epoch, _)| *epoch) else {
            return Err(UnknownTopology::Service(self.service.clone()));
        };
        let known = self.epochs.update(vec![Some((epoch, master))], answers.len() >= majority);
        known.to_layout()
    }
}

/// The master that a sentinel reports, and its epoch.
fn claim(values: &[Value]) -> Option<(u64, ServerAddress)> {
    let [Value::Array(fields), Value::Array(address)] = values else { return None };
    let mut fields = fields.chunks_exact(2).map(|pair| (text(&pair[0]), text(&pair[1])));
    let (_, epoch) = fields.find(|(name, _)| *name == Some("config-epoch"))?;
    let [host, port] = &address[..] else { return None };
    Some((epoch?.parse().ok()?, ServerAddress::new(text(host)?, text(port)?.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentinels_replies_yield_master_and_epoch() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let fields = ["name", "main", "config-epoch", "7", "quorum", "2"].map(bulk);
        let address = Value::Array(vec![bulk("10.0.0.1"), bulk("6379")]);
        let values = [Value::Array(fields.to_vec()), address.clone()];
        assert_eq!(claim(&values), Some((7, ServerAddress::new("10.0.0.1", 6379))));
        assert_eq!(claim(&[Value::Nil, Value::Nil]), None);
        assert_eq!(claim(&[Value::Array(Vec::new()), address]), None);
    }
}
