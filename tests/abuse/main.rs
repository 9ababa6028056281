//! Malicious clients. During each attack the node must serve a healthy pair of clients, and afterwards it must
//! be in the same state as before: [`victim`] defines that.
//!
//! `ABUSE=long cargo test --release --test abuse` (`make abuse`) makes every attack ten times as large as in the
//! short form that `make test` runs. The attacks run one at a time, because latency and memory are measured.
//!
//! | file | contents |
//! | --- | --- |
//! | `victim` | the node, the healthy pair, and the conditions at the end |
//! | `requests` | malformed and smuggled HTTP requests |
//! | `slow_requests` | connections that send nothing, or one byte at a time |
//! | `polls` | polls whose clients vanish, and bodies that never arrive |
//! | `streams` | event streams that are not read, and publications that keep memory |
//! | `frames` | WebSocket floods, fragments and aborted connections |
//! | `http2` | floods of HTTP/2 frames, and header bombs |
//! | `json` | JSON that is hard to parse |
//! | `stomp` | frames of STOMP without end, and floods of them |
//! | `channels` | many channel names, and names that are special elsewhere |
//! | `log` | log injection |
//!
//! There are no compression bombs, because the node has no compression and declines an offer of it.

mod channels;
mod frames;
mod http2;
mod json;
mod log;
mod polls;
mod requests;
mod slow_requests;
mod stomp;
mod streams;
mod victim;

/// The size of an attack: ten times larger in the long form.
fn attack_size(short: usize) -> usize {
    match std::env::var("ABUSE").as_deref() {
        Ok("long") => 10 * short,
        _ => short,
    }
}
