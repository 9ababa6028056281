//! A node with a healthy pair of clients, and the conditions that must hold during and after an attack.

use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::client::Client;
use testkit::node::Node;
use testkit::open_files::raise_open_file_limit;
use testkit::process::Signal;
use testkit::redis::Redis;
use tokio::sync::{Mutex, MutexGuard};

/// One victim at a time: what others cost it would be measured too.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Round trips that a latency is the middle one of.
const ROUND_TRIPS: usize = 101;

/// How much slower than before the pair may be in the end, with a floor far above the noise of a
/// machine that does other things too.
const SLOWDOWN_MAX: u32 = 5;
const LATENCY_FLOOR: Duration = Duration::from_millis(20);

/// The longest that one message of the pair may take while others rage.
const RAGING_LATENCY_MAX: Duration = Duration::from_secs(5);

/// The longest wait for the node to be as it was. It ends only what does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much more memory than before the node may hold in the end, in bytes: what an allocator keeps.
const MEMORY_KEPT_MAX: f64 = (24 << 20) as f64;

pub struct Victim {
    pub node: Node,
    pub redis: Option<Redis>,
    publisher: Client,
    subscriber: Client,
    said: u64,
    latency: Duration,
    /// Of those while others raged.
    slowest: Duration,
    memory: f64,
    wanted: f64,
    _alone: MutexGuard<'static, ()>,
}

impl Victim {
    pub async fn alone(settings: &[&str]) -> Self {
        Self::start(None, settings).await
    }

    pub async fn on_redis(settings: &[&str]) -> Self {
        Self::start(Some(Redis::start().await), settings).await
    }

    async fn start(redis: Option<Redis>, settings: &[&str]) -> Self {
        raise_open_file_limit();
        let alone = ALONE.lock().await;
        // What is to be withstood must come in.
        let open = ["limits.publications_per_second=0", "limits.new_channels_per_second=0"];
        let settings = [&["telemetry.log_level=debug"][..], &open, settings].concat();
        let node = match &redis {
            Some(redis) => Node::on(redis, &settings).await,
            None => Node::standalone(&settings).await,
        };
        let publisher = Client::plain(&node, "healthy").await;
        let subscriber = Client::plain(&node, "healthy").await;
        let mut victim = Self {
            node,
            redis,
            publisher,
            subscriber,
            said: 0,
            latency: Duration::ZERO,
            slowest: Duration::ZERO,
            memory: 0.,
            wanted: 0.,
            _alone: alone,
        };
        victim.latency().await;
        victim.latency = victim.latency().await;
        victim.memory = victim.memory().await;
        victim.wanted = victim.node.metric("tidegate_subscriptions_wanted").await;
        victim
    }

    /// The pair is served, also now.
    pub async fn serves(&mut self) {
        let took = self.round_trip().await;
        self.slowest = self.slowest.max(took);
        assert!(took < RAGING_LATENCY_MAX, "a message took {took:?}");
        assert_eq!(self.node.get("/healthz").await.status, 200);
    }

    /// The pair is served until a metric has reached a value.
    pub async fn serves_until(&mut self, metric: &str, value: f64) {
        let deadline = Instant::now() + PATIENCE;
        while self.node.metric(metric).await != value {
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {metric} {value}");
            self.serves().await;
        }
    }

    /// All others have gone, and it is as it was.
    pub async fn survives(mut self) {
        self.serves_until("tidegate_connections", 2.).await;
        self.serves_until("tidegate_subscriptions", 2.).await;
        self.serves_until("tidegate_channels", 1.).await;
        self.serves_until("tidegate_outbound_queue_bytes", 0.).await;
        self.serves_until("tidegate_subscriptions_wanted", self.wanted).await;
        assert_eq!(self.node.get("/healthz").await.status, 200);
        assert!(self.node.is_ready().await);
        let worst = (SLOWDOWN_MAX * self.latency).max(LATENCY_FLOOR);
        self.is_quick_again(worst).await;
        let kept_max = self.memory + MEMORY_KEPT_MAX;
        let deadline = Instant::now() + PATIENCE;
        while self.memory().await > kept_max {
            assert!(Instant::now() < deadline, "the memory stays at {}", self.memory().await);
            self.serves().await;
        }
        let (latency, memory) = (self.latency().await, self.memory().await);
        println!(
            "    {:?} a message before, {:?} at worst, {latency:?} after",
            self.latency, self.slowest
        );
        println!("    {} MiB before, {} after", mebibytes(self.memory), mebibytes(memory));
        assert_eq!(self.node.metric("tidegate_panics_total").await, 0.);
        self.publisher.close().await;
        self.subscriber.close().await;
        self.node.signal(Signal::INT);
        assert_eq!(self.node.process.exit_code().await, 0);
        for line in self.node.process.stderr() {
            let parsed: Value = serde_json::from_str(&line)
                .unwrap_or_else(|error| panic!("{error} in a line of the log: {line:?}"));
            assert!(parsed["level"] != "ERROR", "{line}");
        }
    }

    async fn is_quick_again(&mut self, worst: Duration) {
        let deadline = Instant::now() + PATIENCE;
        while self.latency().await > worst {
            assert!(Instant::now() < deadline, "messages take longer than {worst:?} for good");
        }
    }

    /// The middle one of many round trips.
    async fn latency(&mut self) -> Duration {
        let mut all = Vec::with_capacity(ROUND_TRIPS);
        for _ in 0..ROUND_TRIPS {
            all.push(self.round_trip().await);
        }
        all.sort_unstable();
        all[ROUND_TRIPS / 2]
    }

    async fn round_trip(&mut self) -> Duration {
        self.said += 1;
        let text = self.said.to_string();
        let start = Instant::now();
        self.publisher.send(text.as_str()).await;
        assert_eq!(self.subscriber.receive_text().await, text);
        let took = start.elapsed();
        assert_eq!(self.publisher.receive_text().await, text);
        took
    }

    async fn memory(&self) -> f64 {
        self.node.metric("process_resident_memory_bytes").await
    }
}

fn mebibytes(bytes: f64) -> f64 {
    (bytes / f64::from(1 << 20)).round()
}
