//! Puts the rooms together and runs them. The only file that knows them all.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::close::Close;
use crate::config::Config;
use crate::drain::{self, Drain, Phase};
use crate::hub::{Hub, Registry};
use crate::internal::Internal;
use crate::limits::Limits;
use crate::live::Live;
use crate::memory::Memory;
use crate::presence::Presence;
use crate::publication::NodeId;
use crate::session::Context;
use crate::transport::Public;
use crate::{broker, listener, telemetry, vital};

/// How long connections that were told to go may take to be gone, after the drain's own period.
const GONE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the drain looks whether all are gone.
const GONE_INTERVAL: Duration = Duration::from_millis(20);

/// Why the node is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM: an orchestrator, whose balancers have yet to hear of it.
    Terminate,
    /// SIGINT: somebody at a keyboard, who waits.
    Interrupt,
}

impl Stop {
    fn signal(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        }
    }
}

/// A node with its listeners bound.
pub struct Gateway {
    config: Config,
    public: TcpListener,
    internal: TcpListener,
}

impl Gateway {
    /// Binds both listeners.
    pub fn bind(config: Config) -> anyhow::Result<Self> {
        let listen = |key: &str, address| {
            listener::bind(address).with_context(|| format!("cannot listen on {key} = {address}"))
        };
        let public = listen("server.listen", config.server.listen)?;
        let internal = listen("internal.listen", config.internal.listen)?;
        Ok(Self { config, public, internal })
    }

    /// Serves until `stop`, then drains.
    pub async fn run(self, stop: impl Future<Output = Stop>) -> anyhow::Result<()> {
        let Self { config, public, internal } = self;
        let node = NodeId::random();
        telemetry::listening(
            node,
            public.local_addr()?,
            internal.local_addr()?,
            &config.broker.url.masked(),
        );
        if !config.internal.listen.ip().is_loopback() && config.internal.api_key.is_none() {
            telemetry::internal_is_open(config.internal.listen);
        }
        let registry = Arc::new(Registry::new(config.rules.clone()));
        registry.start_flushers();
        let broker = broker::connect(&config.broker, node, registry.clone().sink());
        let presence = Presence::start(&config.presence, broker.clone());
        let hub = Hub::new(registry, broker);
        let drain = Drain::default();
        let context =
            Arc::new(Context::new(hub.clone(), presence.clone(), config.session.clone(), node));
        let limits = Limits::new(config.limits);
        let server = Live::new(config.server);
        let watched = hub.clone();
        let memory = Memory::watch(limits.clone(), move || watched.registry().connections());
        let front = Public::new(server, limits, memory.clone(), config.demo, context);
        let serving =
            vital::spawn(
                "public listener",
                async move { match Arc::new(front).serve(public).await {} },
            );
        let back = Internal::new(
            &config.internal,
            hub.clone(),
            presence,
            config.rules,
            drain.clone(),
            memory,
        );
        vital::spawn(
            "internal listener",
            async move { match Arc::new(back).serve(internal).await {} },
        );

        let stop = stop.await;
        drain.enter(Phase::Leaving);
        let delay = if stop == Stop::Interrupt { Duration::ZERO } else { config.drain.delay };
        let connections = hub.registry().connection_count();
        telemetry::draining(stop.signal(), connections, delay, config.drain.period);
        sleep(delay).await;
        drain.enter(Phase::Draining);
        serving.abort();
        drain::close_spread(hub.registry().connections(), config.drain.period).await;
        telemetry::stopped(gone(&hub).await);
        Ok(())
    }
}

/// Waits a bounded time for all connections to end; returns how many did not.
async fn gone(hub: &Hub) -> usize {
    let deadline = Instant::now() + GONE_TIMEOUT;
    while hub.registry().connection_count() > 0 && Instant::now() < deadline {
        // A handshake may have ended after the closes were spread.
        for late in hub.registry().connections() {
            late.close(Close::Drain);
        }
        sleep(GONE_INTERVAL).await;
    }
    hub.registry().connection_count()
}

/// Resolves at the first SIGTERM or SIGINT. A second one ends the process at once.
pub async fn signalled() -> anyhow::Result<Stop> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut next = async move || {
        tokio::select! {
            Some(()) = terminate.recv() => Stop::Terminate,
            Some(()) = interrupt.recv() => Stop::Interrupt,
            else => pending().await,
        }
    };
    let first = next().await;
    tokio::spawn(async move {
        next().await;
        telemetry::stopped_at_once();
        std::process::exit(EXIT_STOPPED_AT_ONCE);
    });
    Ok(first)
}

/// The exit code of a node that was told twice and so did not drain.
const EXIT_STOPPED_AT_ONCE: i32 = 1;
