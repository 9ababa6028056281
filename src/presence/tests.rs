use super::*;
use crate::broker::{self, BrokerEvent, Url};
use crate::publication::{Change, Member, NodeId};
use crate::rules::Rules;

/// A presence over the memory broker, and the changes that the hub gets.
struct PresenceFixture {
    presence: Presence,
    told: Arc<Mutex<Vec<(String, User, Change)>>>,
}

const GRACE: Duration = Duration::from_secs(5);

impl PresenceFixture {
    fn new() -> Self {
        let told: Arc<Mutex<Vec<_>>> = Arc::default();
        let sink = {
            let told = told.clone();
            Arc::new(move |event: BrokerEvent<'_>| {
                if let BrokerEvent::Presence { channel, user, change } = event {
                    told.lock().unwrap().push((channel.to_owned(), user, change));
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
        Self { presence: Presence::start(&config, broker), told }
    }

    fn enter(&self, user: Option<&str>) -> Present {
        self.presence.enter(chat(), user.map(Into::into))
    }

    async fn members(&self) -> Vec<(Option<String>, u32)> {
        let members = self.presence.members(chat()).await.unwrap();
        let each = members.list.into_iter();
        each.map(|Member { user, sessions }| (user.map(|it| it.to_string()), sessions)).collect()
    }

    /// The changes since the last call.
    fn told(&self) -> Vec<(Option<String>, Change)> {
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        told.into_iter()
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
async fn a_user_joins_once_is_counted_and_leaves_after_the_grace() {
    let scene = PresenceFixture::new();
    let sessions = [scene.enter(Some("ada")), scene.enter(Some("ada"))];
    assert_eq!(scene.members().await, [(ada(), 2)], "who entered before the question is in it");
    assert_eq!(scene.told(), [(ada(), Change::Join)]);
    drop(sessions);
    assert_eq!(scene.members().await, [(ada(), 1)]);
    tokio::time::sleep(GRACE - Duration::from_millis(10)).await;
    assert_eq!(scene.told(), []);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(scene.told(), [(ada(), Change::Leave)]);
    assert_eq!(scene.members().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_short_reconnect_makes_no_leave_and_no_join() {
    let scene = PresenceFixture::new();
    let before = scene.enter(Some("ada"));
    scene.members().await;
    scene.told();
    drop(before);
    tokio::time::sleep(GRACE / 2).await;
    let _after = scene.enter(Some("ada"));
    tokio::time::sleep(GRACE * 4).await;
    assert_eq!(scene.told(), []);
    assert_eq!(scene.members().await, [(ada(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn sessions_without_a_user_are_one_member_and_no_name_is_not_an_empty_one() {
    let scene = PresenceFixture::new();
    let _all = [scene.enter(None), scene.enter(Some("")), scene.enter(None)];
    assert_eq!(scene.members().await, [(None, 2), (Some(String::new()), 1)]);
    assert_eq!(scene.told(), [(None, Change::Join), (Some(String::new()), Change::Join)]);
}

#[test]
fn a_grace_as_long_as_the_ttl_is_a_fault() {
    let given = |text: &str| crate::settings::RawValue::Text(text.to_owned());
    let both = [("presence.ttl", given("3s")), ("presence.grace", given("3s"))];
    let both = both.map(|(key, value)| (key.to_owned(), (value, "a test".to_owned())));
    let mut settings = Settings::new(both.into(), Vec::new());
    Config::read(&mut settings);
    let faults = settings.finish().unwrap_err().to_string();
    assert!(faults.contains("presence.grace (a test): must be less than"), "{faults}");
}
