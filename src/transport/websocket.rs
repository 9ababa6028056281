//! A WebSocket on a socket: reads when there is something to read, writes all that is queued in
//! one go, and holds no buffer while it idles.

mod decoder;
mod write;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

pub use self::decoder::Decoder;
use self::write::write_batch;
use crate::close::Close;
use crate::frame;
use crate::outbound::{Batch, Outbound};
use crate::session::{Connection, Event};
use crate::telemetry;

/// Most bytes of one read. One such buffer a thread serves all connections.
const SCRATCH_BYTES: usize = 64 << 10;

/// Events in a row before other tasks get a turn.
const TURN: usize = 64;

/// How many of them a read counts for: it may bring ten thousand fragments, and no event.
const READ: usize = TURN / 2;

/// How long what is queued, and the close frame, may take to get out.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client that was told to go may take to agree.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one that broke the rules, or has been silent, may.
const FAREWELL_TIMEOUT_SHORT: Duration = Duration::from_secs(1);

thread_local! {
    /// Reading happens within one poll, so one buffer a thread is enough for all its connections.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into());
}

/// A socket after its upgrade.
pub struct WebSocket<S> {
    stream: S,
    decoder: Decoder,
    /// Read but not yet decoded. Holds nothing while the connection idles.
    carry: Vec<u8>,
    /// How much of `carry` has been decoded.
    decoded: usize,
    batch: Batch,
    /// Something was written since it was last all flushed.
    owes_flush: bool,
    hearing: Hearing,
    /// How much was done since the socket was empty, or others had a turn.
    done: usize,
}

/// What is still to be heard of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    Frames,
    /// It broke a rule: what follows means nothing, but is to be read away before the socket closes.
    Noise,
    /// It sent its close frame, or can send nothing more.
    Nothing,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> WebSocket<S> {
    /// `early`: what the client sent right behind its request.
    pub fn new(stream: S, early: Vec<u8>, message_bytes_max: usize) -> Self {
        Self {
            stream,
            decoder: Decoder::new(message_bytes_max),
            carry: early,
            decoded: 0,
            batch: Batch::default(),
            owes_flush: false,
            hearing: Hearing::Frames,
            done: 0,
        }
    }

    /// The next event of what has been read already.
    fn carried(&mut self) -> Option<Event> {
        if self.carry.is_empty() {
            return None;
        }
        let (taken, event) = self.decoder.decode(&mut self.carry[self.decoded..]);
        self.decoded += taken;
        if self.decoded == self.carry.len() {
            self.carry = Vec::new();
            self.decoded = 0;
        } else if event.is_none() {
            // What is left is the beginning of a frame, a few bytes.
            self.carry.drain(..self.decoded);
            self.carry.shrink_to_fit();
            self.decoded = 0;
        }
        event.map(|event| self.note(event))
    }

    fn note(&mut self, event: Event) -> Event {
        match event {
            Event::Close(_) | Event::End(_) => self.hearing = Hearing::Nothing,
            Event::Violation(_) => {
                self.hearing = Hearing::Noise;
                self.carry = Vec::new();
            }
            _ => {}
        }
        event
    }

    /// Reads once from the socket, if it is its turn. `None`: something was read, but no whole event.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        ready!(self.poll_turn(cx));
        let read = self.poll_read_once(cx);
        self.done = if read.is_ready() { self.done + READ } else { 0 };
        read
    }

    /// Pending: others get a turn first.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.done < TURN {
            return Poll::Ready(());
        }
        self.done = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_read_once(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            let bytes = buffer.filled_mut();
            if read.is_err() || bytes.is_empty() {
                self.hearing = Hearing::Nothing;
                return Poll::Ready(Some(Event::End(Close::Lost)));
            }
            telemetry::received_bytes(bytes.len());
            if self.hearing == Hearing::Noise {
                return Poll::Ready(None);
            }
            if !self.carry.is_empty() {
                self.carry.extend_from_slice(bytes);
                return Poll::Ready(self.carried());
            }
            let (taken, event) = self.decoder.decode(bytes);
            self.carry.extend_from_slice(&bytes[taken..]);
            Poll::Ready(event.map(|event| self.note(event)))
        })
    }

    /// Writes what is queued. Ready: the connection is to end.
    fn poll_write(&mut self, cx: &mut Context<'_>, outbound: &Outbound) -> Poll<Close> {
        loop {
            if self.batch.frames.is_empty()
                && !self.owes_flush
                && let Err(close) = ready!(outbound.poll_take(cx, &mut self.batch))
            {
                return Poll::Ready(close);
            }
            // Also when all frames are through: TLS may hold the last bytes, and nobody else asks.
            self.owes_flush = true;
            match write_batch(&mut self.stream, cx, &mut self.batch) {
                Poll::Ready(Ok(())) => self.owes_flush = false,
                Poll::Ready(Err(_)) => return Poll::Ready(Close::Lost),
                Poll::Pending => return outbound.poll_closing(cx),
            }
        }
    }

    /// Writes what is still queued and the close frame. False: the socket is broken.
    async fn say_farewell(&mut self, close: Close, outbound: &Outbound) -> bool {
        if close.drops_queue() {
            // Only what is half out must be finished; the rest is what it was too slow for.
            self.batch.truncate_to_frame();
        }
        loop {
            if !self.write_all().await {
                return false;
            }
            if poll_fn(|cx| outbound.poll_take(cx, &mut self.batch)).await.is_err() {
                break;
            }
        }
        self.batch.frames.push_back(frame::close(close));
        self.write_all().await
    }

    /// False: the socket is broken.
    async fn write_all(&mut self) -> bool {
        let (stream, batch) = (&mut self.stream, &mut self.batch);
        poll_fn(|cx| write_batch(stream, cx, batch)).await.is_ok()
    }

    /// Reads and drops what comes until the client's close frame or end. To close a socket with
    /// unread bytes resets it, and the client might lose the close frame.
    async fn hear_out(&mut self) {
        while self.hearing != Hearing::Nothing {
            if self.carried().is_none() {
                poll_fn(|cx| self.poll_read(cx).map(drop)).await;
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection for WebSocket<S> {
    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        outbound: &Outbound,
        reading: bool,
    ) -> Poll<Event> {
        if outbound.take_nudge() {
            return Poll::Ready(Event::Nudge);
        }
        // What was read together is answered together: no write before it is all decoded.
        if reading && !self.carry.is_empty() {
            ready!(self.poll_turn(cx));
            if let Some(event) = self.carried() {
                self.done += 1;
                return Poll::Ready(event);
            }
        }
        if let Poll::Ready(close) = self.poll_write(cx, outbound) {
            return Poll::Ready(Event::End(close));
        }
        if !reading {
            return Poll::Pending;
        }
        loop {
            if let Some(event) = ready!(self.poll_read(cx)) {
                return Poll::Ready(event);
            }
        }
    }

    async fn close(&mut self, close: Close, outbound: &Outbound) {
        if close == Close::Lost {
            return;
        }
        outbound.close(close);
        let patience = match close {
            // What it has half written is wanted back.
            Close::Overloaded => FAREWELL_TIMEOUT_SHORT,
            _ => CLOSE_TIMEOUT,
        };
        let farewell = timeout(patience, self.say_farewell(close, outbound));
        if farewell.await != Ok(true) {
            return;
        }
        if self.hearing == Hearing::Noise {
            // Its answer would not be understood: the socket ends as soon as the reason is out.
            let _ = timeout(FAREWELL_TIMEOUT_SHORT, self.stream.shutdown()).await;
        }
        let patience = match close {
            Close::Client(_) | Close::Slow | Close::Unavailable => FAREWELL_TIMEOUT,
            Close::Drain { .. } | Close::Rebalance { .. } => FAREWELL_TIMEOUT,
            _ => FAREWELL_TIMEOUT_SHORT,
        };
        // Out of patience or not, the socket is closed now.
        let _ = timeout(patience, self.hear_out()).await;
        // Over TLS there is a last word, which nobody may take.
        let _ = timeout(FAREWELL_TIMEOUT_SHORT, self.stream.shutdown()).await;
    }
}

#[cfg(test)]
mod tests;
