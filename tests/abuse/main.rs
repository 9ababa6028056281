//! Clients that mean harm. Whatever they do, a healthy pair of clients is served meanwhile, and afterwards the
//! node is as it was: [`victim`] says what that means.
//!
//! `ABUSE=long cargo test --release --test abuse` (`make abuse`) is ten times as much of everything as the short
//! form that `make test` runs. One at a time, because they are measured.
//!
//! | file | holds |
//! | --- | --- |
//! | `victim` | the node, the healthy pair, and what must hold in the end |
//! | `requests` | HTTP that is none, or two at once |
//! | `dawdling` | those who say nothing, or one byte at a time |
//! | `frames` | floods, fragments and ends of WebSockets |
//! | `json` | texts that are hard to read |
//! | `channels` | names by the million, and names with a meaning elsewhere |
//! | `log` | words for the operator's log |
//!
//! There are no compression bombs, as there is no compression: an offer of it is not taken up.

mod channels;
mod dawdling;
mod frames;
mod json;
mod log;
mod requests;
mod victim;

/// How many of something: ten times as many where there is time.
fn many(short: usize) -> usize {
    match std::env::var("ABUSE").as_deref() {
        Ok("long") => 10 * short,
        _ => short,
    }
}
