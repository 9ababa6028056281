//! Looks at nodes while another one leaves: what its clients' return costs them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use testkit::curve::Curve;
use testkit::node::metrics;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Between one look and the next.
const INTERVAL: Duration = Duration::from_millis(250);

/// The shortest time that CPU use is told of.
const CPU_TIME_MIN: Duration = Duration::from_secs(20);

const NAMES: [&str; 4] = [
    "tidegate_connections_opened_total",
    "tidegate_connections",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
];

/// What one node showed, look by look.
pub struct Watched {
    looks: Vec<Sample>,
}

struct Sample {
    /// Since the watch began.
    at: Duration,
    opened: f64,
    connections: f64,
    bytes: f64,
    cpu_seconds: f64,
}

impl Watched {
    /// Handshakes that ended well.
    pub fn opened(&self) -> Curve {
        Curve::from_samples(self.looks.iter().map(|it| (it.at, it.opened)))
    }

    /// The most connections it had.
    pub fn connections_max(&self) -> f64 {
        self.looks.iter().map(|it| it.connections).fold(0., f64::max)
    }

    /// The most memory it had, MiB.
    pub fn memory_max(&self) -> f64 {
        self.looks.iter().map(|it| it.bytes).fold(0., f64::max) / f64::from(1 << 20)
    }

    /// The cores it used, on average. None: it was watched for too short, as its counter has whole seconds.
    pub fn cores(&self) -> Option<f64> {
        let (first, last) = (self.looks.first()?, self.looks.last()?);
        let time = last.at - first.at;
        let used = (last.cpu_seconds - first.cpu_seconds) / time.as_secs_f64();
        (time >= CPU_TIME_MIN).then_some(used)
    }
}

/// Under way.
pub struct Watch {
    pub begun: Instant,
    over: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Watched>>,
}

impl Watch {
    /// Looks at the nodes with these internal addresses, all of which have to be there.
    pub fn over(nodes: impl IntoIterator<Item = SocketAddr>) -> Self {
        let (begun, over) = (Instant::now(), watch::Sender::new(false));
        let look = |node| tokio::spawn(look_at(node, begun, over.subscribe()));
        let tasks = nodes.into_iter().map(look).collect();
        Self { begun, over, tasks }
    }

    /// Ends it, with a last look at each node.
    pub async fn end(self) -> Vec<Watched> {
        self.over.send_replace(true);
        let mut all = Vec::new();
        for task in self.tasks {
            all.push(task.await.expect("the node answered"));
        }
        all
    }
}

async fn look_at(node: SocketAddr, begun: Instant, mut over: watch::Receiver<bool>) -> Watched {
    let mut looks = Vec::new();
    loop {
        let last = *over.borrow_and_update();
        let asked = begun.elapsed();
        let [opened, connections, bytes, cpu_seconds] = metrics(node, NAMES).await;
        // The node looked at its counters somewhere in between.
        let at = (asked + begun.elapsed()) / 2;
        looks.push(Sample { at, opened, connections, bytes, cpu_seconds });
        if last {
            return Watched { looks };
        }
        // Either way there is another look.
        let _ = timeout(INTERVAL, over.changed()).await;
    }
}
