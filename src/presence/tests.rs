use super::*;
use crate::broker::{self, BrokerEvent, Url};
use crate::publication::{Change, Member, NodeId};
use crate::rules::Rules;

/// A presence over the memory broker, and the changes that the hub gets.
struct PresenceFixture {
    presence: Presence,
    changes: Arc<Mutex<Vec<(String, User, Change)>>>,
}

const GRACE: Duration = Duration::from_secs(5);

impl PresenceFixture {
    fn new() -> Self {
        let changes: Arc<Mutex<Vec<_>>> = Arc::default();
        let sink = {
            let changes = changes.clone();
            Arc::new(move |event: BrokerEvent<'_>| {
                if let BrokerEvent::Presence { channel, user, change, .. } = event {
                    changes.lock().unwrap().push((channel.to_owned(), user, change));
                }
            })
        };
        let config = broker::Config {
            url: Url::Memory,
            prefix: String::new(),
            publish_timeout: Duration::from_secs(1),
            idempotency_window: Duration::from_secs(300),
            rules: Rules::default(),
            secret: None,
            trust: None,
        };
        let broker = broker::connect(&config, NodeId::random(), sink);
        let config = Config { ttl: Duration::from_secs(30), grace: GRACE };
        Self { presence: Presence::start(&config, broker), changes }
    }

    fn enter(&self, user: Option<&str>) -> Present {
        self.presence.enter(chat(), user.map(Into::into), None)
    }

    async fn members(&self) -> Vec<(Option<String>, u32)> {
        let members = self.presence.members(chat()).await.unwrap();
        let each = members.list.into_iter();
        each.map(|Member { user, sessions, .. }| (user.map(|it| it.to_string()), sessions))
            .collect()
    }

    /// The changes since the last call.
    fn changes(&self) -> Vec<(Option<String>, Change)> {
        let changes = std::mem::take(&mut *self.changes.lock().unwrap());
        changes
            .into_iter()
            .map(|(channel, user, change)| {
                assert_eq!(channel, "chat:1");
                (user.map(|it| it.to_string()), change)
            })
            .collect()
    }
}

fn chat() -> Channel {
    Channel::new("chat:1").unwrap()
}

fn ada() -> Option<String> {
    Some("ada".to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_user_joins_once_is_counted_and_leaves_after_the_grace_period() {
    let fixture = PresenceFixture::new();
    let sessions = [fixture.enter(Some("ada")), fixture.enter(Some("ada"))];
    assert_eq!(fixture.members().await, [(ada(), 2)], "earlier sessions are included");
    assert_eq!(fixture.changes(), [(ada(), Change::Join)]);
    drop(sessions);
    assert_eq!(fixture.members().await, [(ada(), 1)]);
    tokio::time::sleep(GRACE - Duration::from_millis(10)).await;
    assert_eq!(fixture.changes(), []);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(fixture.changes(), [(ada(), Change::Leave)]);
    assert_eq!(fixture.members().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_short_reconnect_causes_no_leave_and_no_join() {
    let fixture = PresenceFixture::new();
    let before = fixture.enter(Some("ada"));
    fixture.members().await;
    fixture.changes();
    drop(before);
    tokio::time::sleep(GRACE / 2).await;
    let _after = fixture.enter(Some("ada"));
    tokio::time::sleep(GRACE * 4).await;
    assert_eq!(fixture.changes(), []);
    assert_eq!(fixture.members().await, [(ada(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn sessions_without_a_user_are_one_member_distinct_from_an_empty_name() {
    let fixture = PresenceFixture::new();
    let _all = [fixture.enter(None), fixture.enter(Some("")), fixture.enter(None)];
    assert_eq!(fixture.members().await, [(None, 2), (Some(String::new()), 1)]);
    assert_eq!(fixture.changes(), [(None, Change::Join), (Some(String::new()), Change::Join)]);
}

#[test]
fn a_presence_grace_as_long_as_the_ttl_is_a_fault() {
    let given = |text: &str| crate::settings::RawValue::Text(text.to_owned());
    let both = [("presence.ttl", given("3s")), ("presence.grace", given("3s"))];
    let both = both.map(|(key, value)| (key.to_owned(), (value, "a test".to_owned())));
    let mut settings = Settings::new(both.into(), Vec::new());
    Config::read(&mut settings);
    let faults = settings.finish().unwrap_err().to_string();
    assert!(faults.contains("presence.grace (a test): must be less than"), "{faults}");
}
