//! What a client publishes, one at a time. After each reconnect it sends its last publication once more,
//! acknowledged or not, as a client does that cannot know: it must be known again by its key.

use testkit::log::Position;
use testkit::publisher::Unacknowledged;
use tokio::sync::{mpsc, oneshot};

use crate::node_client::PublishRequest;

pub struct ClientPublisher {
    orders: mpsc::Receiver<PublishRequest>,
    /// The id of the last command; 0 is for other commands than these.
    id: u64,
    unanswered: Option<Pending>,
    /// The last publication that was acknowledged, and with what.
    latest: Option<(Publication, Option<Position>)>,
}

#[derive(Clone)]
struct Publication {
    channel: String,
    payload: String,
    key: String,
}

/// Who waits for the answer.
enum Pending {
    /// With what it asked for.
    Publisher(Publication, oneshot::Sender<Result<Option<Position>, Unacknowledged>>),
    /// Nobody: it was acknowledged before.
    Repeated,
}

impl ClientPublisher {
    pub fn new(orders: mpsc::Receiver<PublishRequest>) -> Self {
        Self { orders, id: 0, unanswered: None, latest: None }
    }

    /// The next command, once there is something to publish and the last one was answered. Cancel safe.
    pub async fn command(&mut self) -> String {
        if self.unanswered.is_some() {
            std::future::pending::<()>().await;
        }
        let Some(order) = self.orders.recv().await else { std::future::pending().await };
        let PublishRequest { channel, payload, key, answer } = order;
        let publication = Publication { channel, payload, key };
        let command = self.publish_command(&publication);
        self.unanswered = Some(Pending::Publisher(publication, answer));
        command
    }

    /// The connection has ended: whoever waits is told that there will be no answer. Returns what to begin
    /// the next one with.
    pub fn repeat_last(&mut self) -> Option<String> {
        self.unanswered = None;
        let (publication, _) = self.latest.clone()?;
        self.unanswered = Some(Pending::Repeated);
        Some(self.publish_command(&publication))
    }

    /// Takes an answer. Fails, saying why, where it makes no sense.
    pub fn answered(
        &mut self,
        id: Option<u64>,
        outcome: Result<Option<Position>, Unacknowledged>,
    ) -> Result<(), String> {
        let asker = self.unanswered.take().filter(|_| id == Some(self.id));
        match (asker, outcome) {
            (None, _) => Err(format!("an answer to {id:?}, which was not asked")),
            (Some(Pending::Publisher(publication, answer)), outcome) => {
                if let Ok(position) = &outcome {
                    self.latest = Some((publication, *position));
                }
                // Who asked may have given up.
                let _ = answer.send(outcome);
                Ok(())
            }
            (Some(Pending::Repeated), Err(_)) => Ok(()),
            (Some(Pending::Repeated), Ok(position)) => match self.latest.as_ref() {
                Some((_, first)) if *first == position => Ok(()),
                first => {
                    let first = first.and_then(|it| it.1);
                    Err(format!("at {first:?} first and at {position:?} when sent again"))
                }
            },
        }
    }

    fn publish_command(&mut self, publication: &Publication) -> String {
        self.id += 1;
        let Publication { channel, payload, key } = publication;
        format!(
            r#"{{"type":"publish","id":{},"channel":"{channel}","data":{payload},"idempotency_key":"{key}"}}"#,
            self.id
        )
    }
}
