//! The publications of a client, one at a time. After each reconnect it repeats its last acknowledged
//! publication, as a client that missed the reply would; the node must recognize the idempotency key.

use testkit::log::Position;
use testkit::publisher::Unacknowledged;
use tokio::sync::{mpsc, oneshot};

use crate::publish_request::PublishRequest;

pub struct ClientPublisher {
    requests: mpsc::Receiver<PublishRequest>,
    /// The id of the last publish command; other commands use the id 0.
    id: u64,
    pending: Option<Pending>,
    /// The last acknowledged publication, and its position.
    latest: Option<(Publication, Option<Position>)>,
}

#[derive(Clone)]
struct Publication {
    channel: String,
    payload: String,
    key: String,
}

/// The publish command without a reply.
enum Pending {
    /// A publisher waits for the reply.
    Publisher(Publication, oneshot::Sender<Result<Option<Position>, Unacknowledged>>),
    /// No publisher waits: the publication was acknowledged before.
    Repeated,
}

impl ClientPublisher {
    pub fn new(requests: mpsc::Receiver<PublishRequest>) -> Self {
        Self { requests, id: 0, pending: None, latest: None }
    }

    /// Waits for the reply to the last command and for the next request; returns its command. Cancel safe.
    pub async fn command(&mut self) -> String {
        if self.pending.is_some() {
            std::future::pending::<()>().await;
        }
        let Some(request) = self.requests.recv().await else { std::future::pending().await };
        let PublishRequest { channel, payload, key, reply } = request;
        let publication = Publication { channel, payload, key };
        let command = self.publish_command(&publication);
        self.pending = Some(Pending::Publisher(publication, reply));
        command
    }

    /// Handles the end of a connection: a waiting publisher's request fails. Returns the first publish command of
    /// the next connection.
    pub fn repeat_last(&mut self) -> Option<String> {
        self.pending = None;
        let (publication, _) = self.latest.clone()?;
        self.pending = Some(Pending::Repeated);
        Some(self.publish_command(&publication))
    }

    /// Handles a reply. Fails with the reason if the reply is unexpected.
    pub fn handle_reply(
        &mut self,
        id: Option<u64>,
        outcome: Result<Option<Position>, Unacknowledged>,
    ) -> Result<(), String> {
        let pending = self.pending.take().filter(|_| id == Some(self.id));
        match (pending, outcome) {
            (None, _) => Err(format!("a reply to the unknown id {id:?}")),
            (Some(Pending::Publisher(publication, reply)), outcome) => {
                if let Ok(position) = &outcome {
                    self.latest = Some((publication, *position));
                }
                // The publisher may have given up.
                let _ = reply.send(outcome);
                Ok(())
            }
            (Some(Pending::Repeated), Err(_)) => Ok(()),
            (Some(Pending::Repeated), Ok(position)) => match self.latest.as_ref() {
                Some((_, first)) if *first == position => Ok(()),
                first => {
                    let first = first.and_then(|it| it.1);
                    Err(format!(
                        "position {first:?} at first and {position:?} for the repeated publication"
                    ))
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
