//! The connections of the internal listener: how many it has, and which it closes for a new one.
//!
//! Any host that reaches the listener can open many idle connections, and a probe must still be answered. So a new
//! connection is always accepted, and replaces the one that has been idle the longest.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::listener::INTERNAL_CONNECTIONS_MAX;

/// How many of them are reserved for callers on this host, as most probes are.
const LOCAL_RESERVED: usize = 8;

/// The connections of the listener.
#[derive(Debug, Default)]
pub struct ListenerConnections(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    next: u64,
    /// By number.
    open: BTreeMap<u64, ListenerConnection>,
}

#[derive(Debug)]
struct ListenerConnection {
    is_local: bool,
    /// None: a request is being answered, so the connection must not be closed.
    waits_since: Option<Instant>,
    leave: Arc<Notify>,
}

/// A connection's slot, released on drop.
#[derive(Debug)]
pub struct ListenerSlot {
    connections: Arc<ListenerConnections>,
    number: u64,
    leave: Arc<Notify>,
}

impl ListenerConnections {
    /// Takes a slot for a connection from this address. None: all connections are answering requests.
    pub fn enter(self: &Arc<Self>, from: IpAddr, now: Instant) -> Option<ListenerSlot> {
        let is_local = from.to_canonical().is_loopback();
        let room = INTERNAL_CONNECTIONS_MAX - if is_local { 0 } else { LOCAL_RESERVED };
        let mut list = self.list();
        if list.open.len() >= room {
            list.make_room()?;
        }
        let (number, leave) = (list.next, Arc::new(Notify::new()));
        list.next += 1;
        let entry = ListenerConnection { is_local, waits_since: Some(now), leave: leave.clone() };
        list.open.insert(number, entry);
        Some(ListenerSlot { connections: self.clone(), number, leave })
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().expect("no code panics while it holds the list")
    }
}

impl List {
    /// Closes the connection that has been idle the longest, those of other hosts first. None: none is idle.
    fn make_room(&mut self) -> Option<()> {
        let waiting = self.open.iter().filter(|(_, entry)| entry.waits_since.is_some());
        let longest = waiting.min_by_key(|(_, entry)| (entry.is_local, entry.waits_since));
        let number = *longest?.0;
        // The connection may take a moment to close. Its slot is free immediately.
        self.open.remove(&number)?.leave.notify_one();
        Some(())
    }
}

impl ListenerSlot {
    /// Resolves when the connection must close for another one.
    pub async fn close_requested(&self) {
        self.leave.notified().await;
    }

    /// A request has arrived. False: the connection must close, and the request must not be started.
    pub fn begins(&self) -> bool {
        self.set(None)
    }

    /// The request has been answered.
    pub fn waits(&self, now: Instant) {
        self.set(Some(now));
    }

    fn set(&self, waits_since: Option<Instant>) -> bool {
        let mut list = self.connections.list();
        let entry = list.open.get_mut(&self.number);
        entry.map(|entry| entry.waits_since = waits_since).is_some()
    }
}

impl Drop for ListenerSlot {
    fn drop(&mut self) {
        self.connections.list().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn is_asked_to_close(place: &ListenerSlot) -> bool {
        place.close_requested().now_or_never().is_some()
    }

    fn fill(
        connections: &Arc<ListenerConnections>,
        from: IpAddr,
        count: usize,
        now: Instant,
    ) -> Vec<ListenerSlot> {
        let after = |number: usize| now + Duration::from_millis(number as u64);
        let entered = (0..count).map(|number| connections.enter(from, after(number)));
        entered.collect::<Option<_>>().unwrap()
    }

    #[test]
    fn the_longest_idle_connection_is_closed_for_a_new_one() {
        let (connections, now) = (Arc::new(ListenerConnections::default()), Instant::now());
        let places = fill(&connections, HERE, INTERNAL_CONNECTIONS_MAX, now);
        assert!(places[0].begins());
        let later = now + Duration::from_secs(1);
        places[1].waits(later);
        assert!(connections.enter(HERE, later).is_some());
        let left: Vec<_> =
            (0..places.len()).filter(|number| is_asked_to_close(&places[*number])).collect();
        assert_eq!(left, [2]);
        assert!(!places[2].begins() && places[3].begins());
    }

    #[test]
    fn callers_on_this_host_have_reserved_connections() {
        let (connections, now) = (Arc::new(ListenerConnections::default()), Instant::now());
        let local = fill(&connections, HERE, LOCAL_RESERVED, now);
        let room = INTERNAL_CONNECTIONS_MAX - 2 * LOCAL_RESERVED;
        let others = fill(&connections, ELSEWHERE, room, now);
        // The slots reserved for this host are not for others.
        let another = connections.enter(ELSEWHERE, now).unwrap();
        assert!(is_asked_to_close(&others[0]) && !local.iter().any(is_asked_to_close));
        for place in others.iter().chain([&another]) {
            place.begins();
        }
        assert!(
            fill(&connections, HERE, LOCAL_RESERVED, now)
                .iter()
                .all(|place| !is_asked_to_close(place))
        );
    }

    #[test]
    fn while_all_connections_are_busy_a_new_one_is_refused() {
        let (connections, now) = (Arc::new(ListenerConnections::default()), Instant::now());
        let mut places = fill(&connections, HERE, INTERNAL_CONNECTIONS_MAX, now);
        assert!(places.iter().all(ListenerSlot::begins));
        assert!(connections.enter(HERE, now).is_none());
        assert!(!places.iter().any(is_asked_to_close));
        places.pop();
        assert!(connections.enter(HERE, now).is_some());
    }
}
