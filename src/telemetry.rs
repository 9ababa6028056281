//! What happened, told once: each function here turns one event into its log line and its metrics.
//! Call sites say what happened; names, labels and levels are decided here.

mod log;
mod metrics;
mod panics;
mod refusals;
mod rejected;
mod trace;

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use log::{Config, FlushLog, flush_log, last_words, log_warnings, set_log_level, start_log};
use metrics::METRICS;
pub use metrics::{Levels, Unready, exposition};
pub use panics::watch_panics;
pub use rejected::Rejected;
use trace::Asker;
pub use trace::{
    Exporting, Trace, Unexportable, handshake_answered, handshake_began, publication_refused,
    set_trace_ratio, start_tracing,
};

use crate::close::Close;
use crate::protocol::Format;
use crate::publication::{Channel, NodeId, Position, Publication};
use crate::settings::ListenAddress;

/// The node listens on both ports.
pub fn listening(node: NodeId, public: SocketAddr, internal: SocketAddr, broker: &str) {
    tracing::info!(%node, %public, %internal, broker, "listening");
}

/// The demo page is served, here.
pub fn demo(url: &str) {
    tracing::info!(url, "demo page");
}

/// The node was told to leave. `why`: by what. `longest`: after so long it is gone, whoever is left.
pub fn draining(
    why: &str,
    connections: usize,
    delay: Duration,
    period: Duration,
    longest: Duration,
) {
    tracing::info!(
        why,
        connections,
        delay_seconds = delay.as_secs_f64(),
        period_seconds = period.as_secs_f64(),
        longest_seconds = longest.as_secs_f64(),
        "draining: waiting for the connections to close, for longest_seconds at most; a second signal stops at once"
    );
}

/// It has not left yet. `left`: after so long it is gone.
pub fn still_draining(connections: usize, left: Duration) {
    tracing::info!(connections, longest_seconds = left.as_secs_f64(), "still draining");
}

/// A signal came to a node that was draining already, as it was asked to at the internal listener.
pub fn draining_already(signal: &str) {
    tracing::info!(signal, "draining already; another signal stops at once");
}

/// The node is in this phase of its life.
pub fn drain_phase(phase: i64) {
    METRICS.drain_phase.set(phase);
}

/// So many nodes are known, this one included, and have so many connections together.
pub fn fleet(nodes: usize, connections: u64) {
    METRICS.fleet_nodes.set(nodes as i64);
    METRICS.fleet_connections.set(i64::try_from(connections).unwrap_or(i64::MAX));
}

/// Have the rules installed in Redis been others than this node's for some time?
pub fn rules_in_redis_differ(do_differ: bool) {
    METRICS.rules_mismatch.with_label_values(&[metrics::WITH_REDIS]).set(do_differ.into());
}

/// Somebody else's rules have been in force in Redis for some time. `by`: the node that installed them.
pub fn rules_replaced_in_redis(by: &str) {
    tracing::warn!(
        by,
        "the rules in Redis are not this node's: another node installed its own, or this one's are old"
    );
}

/// So many other nodes have gone by other rules than this one for some time.
pub fn nodes_with_other_rules(count: usize) {
    METRICS.rules_mismatch.with_label_values(&[metrics::WITH_NODES]).set(count as i64);
}

/// The same, by name, when it has come up.
pub fn rules_differ_between_nodes(nodes: &str) {
    tracing::warn!(
        nodes,
        "these nodes go by other rules for histories, or another database, under the same broker.prefix"
    );
}

/// The rules are the same again. `with`: everywhere in Redis, or on all nodes.
pub fn rules_agree_again(with: &str) {
    tracing::info!(with, "the rules are the same again");
}

/// Some connections are told to come back elsewhere. `why`: who wanted that.
pub fn shedding(why: &str, connections: usize, period: Duration) {
    let period = period.as_secs_f64();
    tracing::info!(why, connections, period_seconds = period, "shedding the oldest connections");
}

/// A task panicked that the node cannot do without; the process ends.
pub fn vital_task_panicked(task: &str) {
    tracing::error!(
        task,
        "a vital task panicked; the node ends so that another can take its place"
    );
}

/// New settings are in force. `fixed`: keys that have changed and need a restart.
pub fn reloaded(why: &str, changed: &[String], fixed: &[String]) {
    METRICS.config_reloads.with_label_values(&[metrics::TAKEN_UP]).inc();
    METRICS.config_refused.set(0);
    tracing::info!(why, changed = changed.join(", "), "configuration reloaded");
    if !fixed.is_empty() {
        tracing::warn!(keys = fixed.join(", "), "these keys have changed and need a restart");
    }
}

/// Most lines of one reload that say what was widened.
const WIDENED_MAX: usize = 20;

/// New settings let more people do something than the old ones. Said before they are in force: a file that
/// was cut short may do so, and whoever reads the log should look.
pub fn rights_widened(widened: &[String]) {
    for what in widened.iter().take(WIDENED_MAX) {
        tracing::warn!(what, "the new configuration lets more people in");
    }
    if let Some(more @ 1..) = widened.len().checked_sub(WIDENED_MAX) {
        tracing::warn!(more, "the new configuration lets more people in, in so many ways more");
    }
}

/// New settings have faults; the old ones go on.
pub fn reload_refused(why: &str, faults: &dyn Display) {
    METRICS.config_refused.set(1);
    METRICS.config_reloads.with_label_values(&[metrics::REFUSED]).inc();
    tracing::error!(why, %faults, "the new configuration is refused; the old one goes on");
}

/// Something was written as if it were a setting, and is none.
pub fn setting_ignored(what: &dyn Display) {
    tracing::warn!(%what, "ignored: no setting");
}

/// Rules ask for tokens that nobody can have.
pub fn tokens_are_off() {
    tracing::warn!("rules are for users or tokens, and auth.mode is none: nobody can use them");
}

/// Whoever reaches the internal listener can publish.
pub fn internal_is_open(listen: ListenAddress) {
    tracing::warn!(%listen, "internal.listen is beyond loopback and internal.api_key is not set");
}

/// A secret that could be guessed: RFC 7518 wants 32 bytes for HS256.
pub fn secret_is_short(kid: Option<&str>) {
    tracing::warn!(kid, "a secret of auth.keys has less than 32 bytes");
}

/// The wall clock went so many milliseconds further than time did.
pub fn clock_stepped(millis: i64) {
    METRICS.clock_steps.inc();
    tracing::warn!(
        millis,
        "the wall clock stepped; sessions end when their tokens say by the new time"
    );
}

/// An issuer's keys come over plain `http` from another host.
pub fn jwks_is_exposed(address: &str) {
    tracing::warn!(
        address,
        "the keys of auth.keys come over http: whoever can exchange them on the way makes tokens; use https"
    );
}

/// An issuer's keys were fetched: for the first time, others than before, or again at last.
pub fn jwks_fetched(address: &dyn Display, keys: usize) {
    tracing::info!(%address, keys, "keys fetched");
}

/// An issuer's keys could not be fetched. `first`: the last time they could.
pub fn jwks_failed(address: &dyn Display, why: &dyn Display, first: bool) {
    match first {
        true => tracing::warn!(%address, %why, "keys cannot be fetched; those there are count on"),
        false => tracing::debug!(%address, %why, "keys cannot be fetched"),
    }
}

/// An issuer's keys could not be fetched for so long that they no longer count.
pub fn jwks_stale(address: &dyn Display) {
    tracing::error!(%address, "keys were not fetched for a day; tokens signed with them are refused");
}

/// Log lines were dropped while standard error was not read, or could not be written to.
fn log_lines_dropped(lines: u64) {
    tracing::warn!(
        lines,
        "log lines were dropped here: standard error was not read, or not writable"
    );
}

/// A second signal came: nobody wants to wait for the drain.
pub fn stopped_at_once() {
    tracing::warn!("stopped at once by a second signal; connections were cut off");
}

/// All connections are gone, or the time for it is over.
pub fn stopped(remaining: usize) {
    match remaining {
        0 => tracing::info!("stopped"),
        _ => tracing::warn!(remaining, "stopped with connections that did not close in time"),
    }
}

/// A handshake was answered and its connection handed to a session.
pub fn connection_opened(format: Format, handshake: Duration) {
    METRICS.connections[format as usize].inc();
    METRICS.connections_opened.inc();
    METRICS.handshake_duration.observe(handshake.as_secs_f64());
}

/// A session ended.
pub fn connection_closed(format: Format, close: Close) {
    METRICS.connections[format as usize].dec();
    METRICS.connections_closed.with_label_values(&[close.label()]).inc();
    let code = match close {
        Close::Client(code) => code,
        _ => None,
    };
    tracing::debug!(reason = close.label(), code, "connection closed");
}

/// Somebody was refused; `why` is for the log. It may name the client's address, and never holds what
/// the client sent.
pub fn rejected(reason: Rejected, why: &dyn Display) {
    METRICS.rejected.with_label_values(&[reason.label()]).inc();
    tracing::debug!(reason = reason.label(), %why, "rejected");
}

/// `accept` failed in a way that lasts; the listener pauses. `first`: it has not failed for a while.
pub fn accept_failed(error: &std::io::Error, first: bool) {
    METRICS.rejected.with_label_values(&[Rejected::Accept.label()]).inc();
    match first {
        true => {
            tracing::warn!(%error, "cannot accept connections; raise the open-file limit or add nodes");
        }
        false => tracing::debug!(%error, "cannot accept connections"),
    }
}

/// It has not failed for a while, and somebody came in.
pub fn accept_recovered() {
    tracing::info!("connections are accepted again");
}

/// More connections are allowed than there are files for.
pub fn connections_max_is_cut(connections_max: usize, places: usize, reserved: usize) {
    let open_files = connections_max.saturating_add(reserved);
    tracing::warn!(
        connections_max,
        places,
        "limits.connections_max is beyond the open-file limit; more clients than there are places for are \
         answered 503: raise the hard limit to {open_files} open files, or lower limits.connections_max"
    );
}

/// A listener's certificate, key or client authorities have changed; new connections get them.
pub fn certificate_replaced(listener: &str) {
    METRICS.tls_reloads.with_label_values(&[metrics::REPLACED]).inc();
    tracing::info!(listener, "new TLS files are in use");
}

/// They have changed to what cannot be used; those from before stay in use.
pub fn certificate_refused(listener: &str, why: &dyn Display) {
    METRICS.tls_files_refused.with_label_values(&[listener]).set(1);
    METRICS.tls_reloads.with_label_values(&[metrics::REFUSED]).inc();
    tracing::error!(listener, %why, "new TLS files cannot be used; those from before stay in use");
}

/// They are as they should be, or there are none.
pub fn certificate_well(listener: &str) {
    METRICS.tls_files_refused.with_label_values(&[listener]).set(0);
}

/// Most memory that the process may use, in bytes.
pub fn memory_max(bytes: usize) {
    METRICS.memory_max.set(bytes as i64);
}

/// The process is near its ceiling and takes no more connections.
pub fn memory_short(why: &dyn Display) {
    tracing::warn!(%why, "short of memory; new connections are refused");
}

/// There is room again.
pub fn memory_recovered(why: &dyn Display) {
    tracing::info!(%why, "enough memory again");
}

/// Connections were closed for what they owed.
pub fn memory_shed(connections: usize, bytes: usize) {
    tracing::warn!(connections, bytes, "short of memory; closed the slowest connections");
}

/// So late the event loop ran what was due.
pub fn event_loop_lag(lag: Duration) {
    METRICS.event_loop_lag.observe(lag.as_secs_f64());
}

/// The event loop lags so much that the node is not ready.
pub fn event_loop_lagging(why: &dyn Display) {
    tracing::warn!(%why, "the event loop lags; not ready for more clients");
}

/// It has been well below its limit for a while.
pub fn event_loop_recovered() {
    tracing::info!("the event loop runs in time again");
}

/// Is the node kept from being ready by this?
pub fn unready(reason: Unready, is_unready: bool) {
    METRICS.unready[reason as usize].set(i64::from(is_unready));
}

/// Somebody asked for a user's sessions to be ended, of which so many were on this node.
pub fn user_disconnected(sessions: usize) {
    tracing::info!(sessions, "a user was disconnected and its tokens revoked");
}

/// So many users have tokens that are refused.
pub fn revocations_known(count: usize) {
    METRICS.revocations.set(count as i64);
}

/// There are more revocations than are kept.
pub fn revocations_dropped(max: usize) {
    tracing::warn!(max, "too many users were disconnected: the oldest revocations are forgotten");
}

/// Bytes came in from a client.
pub fn received_bytes(bytes: usize) {
    METRICS.received_bytes.inc_by(bytes as u64);
}

/// Bytes went out to a client.
pub fn sent_bytes(bytes: usize) {
    METRICS.sent_bytes.inc_by(bytes as u64);
}

/// A client asked for a publication, which goes on to the broker.
pub fn publication_received(
    format: Format,
    channel: &Channel,
    publication: &mut Publication,
) -> Trace {
    METRICS.publications_received[format as usize].inc();
    trace::publish_began(channel, publication, Asker::Client)
}

/// A service asked for a publication at the internal listener.
pub fn api_publication_received(channel: &Channel, publication: &mut Publication) -> Trace {
    METRICS.api_publications_received.inc();
    trace::publish_began(channel, publication, Asker::Fleet)
}

/// The broker answered a client's publication.
pub fn publication_answered(
    trace: Trace,
    since_received: Duration,
    answer: Result<Option<Position>, &'static str>,
) {
    METRICS.publish_duration.observe(since_received.as_secs_f64());
    trace::publish_answered(trace, answer);
}

/// The broker answered a service's.
pub fn api_publication_answered(trace: Trace, answer: Result<Option<Position>, &'static str>) {
    trace::publish_answered(trace, answer);
}

/// The broker brought a publication, which is to be handed to its local subscribers.
pub fn relay_began(channel: &str, publication: &Publication) -> Trace {
    trace::relay_began(channel, publication)
}

/// It was handed to them.
pub fn publication_relayed(
    trace: Trace,
    delivered: [u64; Format::COUNT],
    relay: Duration,
    delivery: Option<Duration>,
) {
    for (counter, delivered) in METRICS.publications_delivered.iter().zip(delivered) {
        if delivered > 0 {
            counter.inc_by(delivered);
        }
    }
    METRICS.relay_duration.observe(relay.as_secs_f64());
    if let Some(delivery) = delivery {
        METRICS.delivery_duration.observe(delivery.as_secs_f64());
    }
    trace::relay_ended(trace, delivered.iter().sum());
}

/// The collector does not take traces. `first`: it did the last time.
fn traces_not_taken(endpoint: &str, why: &str, first: bool) {
    match first {
        true => tracing::warn!(endpoint, why, "the collector takes no traces; spans are lost"),
        false => tracing::debug!(endpoint, why, "the collector takes no traces"),
    }
}

/// It takes them again.
fn traces_taken_again(endpoint: &str) {
    tracing::info!(endpoint, "the collector takes traces again");
}

/// The node stops, and the collector did not take what was left.
fn traces_left_behind(waited: Duration) {
    tracing::warn!(seconds = waited.as_secs_f64(), "the collector did not take the last spans");
}

/// A client came back with a position. `recovered`: it misses nothing.
pub fn history_resumed(recovered: bool) {
    let outcome = if recovered { metrics::RECOVERED } else { metrics::LOST };
    METRICS.history_resumes.with_label_values(&[outcome]).inc();
}

/// A client that came back got what it had missed.
pub fn publications_recovered(format: Format, count: usize) {
    METRICS.publications_delivered[format as usize].inc_by(count as u64);
}

/// A subscriber's outbound queue was full and its connection is being closed.
pub fn slow_consumer_closed() {
    METRICS.slow_consumers.with_label_values(&[metrics::SLOW_CLOSED]).inc();
    tracing::debug!("slow consumer closed");
}

/// So many publications of `latest` channels gave way to newer ones before their sockets had room.
pub fn publications_skipped(count: u64) {
    METRICS.publications_skipped.inc_by(count);
}

/// A pong came back.
pub fn pong_received(round_trip: Duration) {
    METRICS.ping_rtt.observe(round_trip.as_secs_f64());
}

/// The broker can be published to and relays what is published.
pub fn broker_connected() {
    METRICS.broker_up.set(1);
    tracing::info!("broker connected");
}

/// The broker cannot be reached, or no longer relays.
pub fn broker_lost(why: &dyn Display) {
    METRICS.broker_up.set(0);
    tracing::warn!(%why, "broker lost; reconnecting");
}

/// An attempt to reach the broker again begins.
pub fn broker_reconnecting() {
    METRICS.broker_reconnects.inc();
}

/// An attempt to reach the broker failed. `first`: it has not been reached so far.
pub fn broker_unreachable(why: &dyn Display, first: bool) {
    match first {
        true => tracing::warn!(%why, "broker unreachable; trying again for ever"),
        false => tracing::debug!(%why, "broker unreachable"),
    }
}

/// A question to Redis had no answer. The connections that publish and subscribe tell of outages.
pub fn broker_did_not_answer(error: &dyn Display) {
    tracing::debug!(%error, "redis did not answer a question");
}

/// No replica confirmed what was appended to histories in time; it is acknowledged all the same.
pub fn replicas_are_late(time: Duration) {
    let seconds = time.as_secs_f64();
    tracing::warn!(
        seconds,
        "no replica keeps up: until one does, a failover may lose what was acknowledged"
    );
}

/// Redis refused a command that only an operator can mend, such as `NOPERM`. `channel`: where it is about some
/// of the nodes' own, these; users' are not logged. The first is a warning, and then one a minute.
pub fn broker_refused(command: &'static str, channel: &str, error: &dyn Display) {
    match refusals::is_due(command, channel, Instant::now()) {
        true => tracing::warn!(command, channel, %error, "redis refused a command"),
        false => tracing::debug!(command, channel, %error, "redis refused a command"),
    }
}

/// So many slots of the cluster are on their way to another master; 0: none any more.
pub fn slots_move(slots: usize) {
    tracing::info!(slots, "redis moves slots from master to master");
}

/// The channels of a slot that is on its way cannot all be served. Told when it begins, and then once a minute.
pub fn slot_is_stuck(why: &dyn Display) {
    match refusals::is_due("MIGRATE", "", Instant::now()) {
        true => tracing::warn!(%why, "a slot that redis moves cannot be used"),
        false => tracing::debug!(%why, "a slot that redis moves cannot be used"),
    }
}

/// A publication was refused, as Redis would have ended the connection for it. Told once for each limit.
pub fn broker_takes_no_more_than(limit: usize, bytes: usize) {
    tracing::warn!(
        limit_bytes = limit,
        bytes,
        "a publication is larger than redis takes and was refused: raise proto-max-bulk-len and \
         client-query-buffer-limit there, or lower session.message_bytes_max"
    );
}

/// The node's own publication came back from the broker.
pub fn broker_probed(round_trip: Duration) {
    METRICS.broker_probe_rtt.observe(round_trip.as_secs_f64());
}

/// How many channels the node wants of the broker, and how many the broker confirmed.
pub fn subscriptions(wanted: usize, confirmed: usize) {
    METRICS.subscriptions_wanted.set(wanted as i64);
    METRICS.subscriptions_confirmed.set(confirmed as i64);
}
