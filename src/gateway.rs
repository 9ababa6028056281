//! Assembles the modules into a node and runs it. The only file that knows them all.

mod reload;
mod shutdown;
mod stop;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use self::reload::{Followers, Reload};
use self::shutdown::Shutdown;
pub use self::stop::{StopReason, signalled};
use crate::auth::{Auth, Mode, Revocations};
use crate::broker::{BrokerEvent, Revocation, Sink};
use crate::config::{Config, Sources};
use crate::drain::Drain;
use crate::events::Events;
use crate::fleet::Fleet;
use crate::hub::{Hub, Registry};
use crate::internal::{self, Internal};
use crate::lag::Lag;
use crate::limits::Limits;
use crate::listener::Listener;
use crate::live::Live;
use crate::memory::MemoryMonitor;
use crate::presence::Presence;
use crate::publication::NodeId;
use crate::session::{self, SessionContext, Users};
use crate::transport::{Demo, Public, Publishing, warn_of_file_limit};
use crate::{broker, clock, critical_tasks, listener, telemetry, tls};

/// How much longer than `broker.publish_timeout` an ending session waits, so that it receives the time-out of a
/// publication.
const LEAVE_MARGIN: Duration = Duration::from_millis(500);

/// A node with its listeners bound.
pub struct Gateway {
    config: Config,
    sources: Sources,
    public: Listener,
    internal: Listener,
    mqtt: Option<Listener>,
}

impl Gateway {
    /// Binds all listeners. `sources`: the configuration's sources, for reloading.
    pub fn bind(config: Config, sources: Sources) -> anyhow::Result<Self> {
        let listen = |key: &str, address| {
            listener::bind(address).with_context(|| format!("cannot listen on {key} = {address}"))
        };
        let public = listen("server.listen", config.server.listen)?;
        let internal = listen("internal.listen", config.internal.listen)?;
        let mqtt = config.mqtt.listen.map(|address| listen("mqtt.listen", address)).transpose()?;
        Ok(Self { config, sources, public, internal, mqtt })
    }

    /// Serves until `stop`, then drains.
    pub async fn run(self, stop: impl Future<Output = StopReason>) -> anyhow::Result<()> {
        let Self { config, sources, public, internal, mqtt } = self;
        let node = NodeId::random();
        let exporting = telemetry::start_tracing(&config.telemetry.traces, node)?;
        let hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
        telemetry::listening(
            node,
            public.local_addr()?,
            internal.local_addr()?,
            &config.broker.url.masked(),
        );
        if let Some(mqtt) = &mqtt {
            telemetry::listening_directly("mqtt", mqtt.local_addr()?);
        }
        if !config.internal.listen.ip().is_loopback() && config.internal.api_key.is_none() {
            telemetry::internal_is_open(config.internal.listen);
        }
        let has_tokens = config.auth.mode != Mode::None || !config.pusher.apps.is_empty();
        if !has_tokens && config.rules.get().requires_tokens() {
            telemetry::tokens_are_off();
        }
        warn_of_file_limit(config.limits.connections_max);
        let demo = match config.demo {
            true => Some(demo(&config, &public, &internal, mqtt.as_ref())?),
            false => None,
        };
        let registry = Registry::new(config.rules.clone());
        let registry = Arc::new(registry.counting(config.telemetry.top_channels));
        registry.start_flushers();
        let users = Users::new(Revocations::new(config.auth.revocation_age));
        let fleet = Fleet::new(node);
        let sink = sink(registry.clone().sink(), users.clone(), fleet.clone());
        let broker = broker::connect(&config.broker, node, sink);
        let presence = Presence::start(&config.presence, broker.clone());
        let Config { presence: kept, .. } = &config;
        let events = Events::start(&config.events, kept.ttl, kept.grace, node, &*broker);
        let hub = Hub::new(registry, broker);
        let leave_timeout = config.broker.publish_timeout + LEAVE_MARGIN;
        let followers = Followers {
            hub: hub.clone(),
            auth: Auth::start(&config.auth),
            users: users.clone(),
            limits: Limits::new(config.limits.clone()),
            server: Live::new(config.server.clone()),
            internal: Live::new(config.internal.clone()),
            drain: Live::new(config.drain.clone()),
            mqtt: Live::new(config.mqtt.clone()),
        };
        let (stepping, checking) = (hub.clone(), followers.auth.clone());
        clock::watch(move || {
            checking.clock_stepped();
            stepping.registry().notify_all();
        });
        let drain = Drain::new(followers.drain.clone(), leave_timeout);
        let Followers { auth, limits, server, .. } = &followers;
        let inside = followers.internal.clone();
        let shown = server.clone();
        critical_tasks::spawn("tls", tls::watch("server", move || shown.get().tls.clone()));
        let shown = inside.clone();
        critical_tasks::spawn("tls", tls::watch("internal", move || shown.get().tls.clone()));
        let (direct, shown) = (followers.mqtt.clone(), followers.mqtt.clone());
        critical_tasks::spawn("tls", tls::watch("mqtt", move || shown.get().tls.clone()));
        let context = Arc::new(SessionContext::new(session::SessionState {
            hub: hub.clone(),
            presence: presence.clone(),
            events: events.clone(),
            auth: auth.clone(),
            users: users.clone(),
            limits: limits.clone(),
            config: Arc::new(config.session.clone()),
            ending_timeout: leave_timeout,
            node,
        }));
        let watched = hub.clone();
        let memory = MemoryMonitor::watch(limits.clone(), move || watched.registry().connections());
        let lag = Lag::watch(limits.clone());
        let front = Public::new(
            server.clone(),
            limits.clone(),
            memory.clone(),
            demo,
            config.pusher.apps.clone(),
            context,
            drain.clone(),
        );
        let front = Arc::new(front.with_updates(config.mercure));
        let auth_in_use = auth.clone();
        Reload::new(sources, &config, followers).start(hangup);
        let serving = front.clone().serve(public);
        let mut accepting =
            vec![critical_tasks::spawn("public listener", async { match serving.await {} })];
        if let Some(mqtt) = mqtt {
            let serving = front.clone().serve_direct(mqtt, direct);
            accepting
                .push(critical_tasks::spawn("mqtt listener", async { match serving.await {} }));
        }
        let parts = internal::InternalState {
            hub: hub.clone(),
            presence,
            events: events.clone(),
            users,
            auth: auth_in_use,
            rules: config.rules,
            drain: drain.clone(),
            memory,
            lag,
        };
        let back = Arc::new(Internal::new(inside, parts));
        let serving = back.clone().serve(internal);
        critical_tasks::spawn("internal listener", async { match serving.await {} });

        let takes_more = move || back.is_ready() && !front.is_full();
        fleet.start(hub.clone(), drain.clone(), takes_more);

        let leaving = Shutdown { drain, hub, fleet, accepting };
        let remaining = leaving.wait(stop).await;
        events.finish().await;
        exporting.finish().await;
        telemetry::stopped(remaining);
        Ok(())
    }
}

/// The demo pages. The URL of their index is logged.
fn demo(
    config: &Config,
    public: &Listener,
    internal: &Listener,
    mqtt: Option<&Listener>,
) -> io::Result<Demo> {
    let http = |is_tls: bool| if is_tls { "https" } else { "http" };
    let mqtt = mqtt.map(|listener| {
        let scheme = if config.mqtt.tls.is_some() { "mqtts" } else { "mqtt" };
        Ok::<_, io::Error>(url(scheme, listener.local_addr()?))
    });
    telemetry::demo(&url(http(config.server.tls.is_some()), public.local_addr()?));
    Ok(Demo::new(&Publishing {
        command: config.broker.url.publish_command(),
        prefix: config.broker.prefix.clone(),
        api: url(http(config.internal.tls.is_some()), internal.local_addr()?),
        needs_key: config.internal.api_key.is_some(),
        mqtt: mqtt.transpose()?,
    }))
}

/// The URL of a listener from its own host.
fn url(scheme: &str, mut address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("{scheme}://{address}/")
}

/// Routes the broker's events: revocations to the users' sessions, nodes' announcements to the fleet, all others
/// to the hub.
fn sink(hub: Sink, users: Users, fleet: Fleet) -> Sink {
    Arc::new(move |event| match event {
        BrokerEvent::Revoked { user, before } => _ = users.revoke(user, before),
        BrokerEvent::RevocationsRead { known, missing } => {
            let revocations = users.revocations();
            let keep = revocations.age();
            let forgotten = revocations.missing_in(known).into_iter();
            missing.extend(forgotten.map(|(user, before)| Revocation { user, before, keep }));
        }
        BrokerEvent::Announced(announcement) => fleet.receive(announcement),
        event => hub(event),
    })
}
