//! Connects to a host that may have several addresses. Tries them one after another, the next one while earlier ones
//! have not answered, and uses the first that answers (RFC 8305, "happy eyeballs"): an address that drops packets
//! delays the connection only a little.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

/// How long to wait for an address before the next one is tried too. Less if there are so many addresses that the
/// last one would be tried too late.
const STAGGER: Duration = Duration::from_millis(250);

/// The most addresses of a host that are tried.
const ADDRESSES_MAX: usize = 16;

/// The most simultaneous name look-ups. A look-up blocks a thread in the system's resolver for an unbounded
/// time, even after its caller has given up.
static LOOKUPS: Semaphore = Semaphore::const_new(16);

/// Connects, with Nagle's algorithm off. `within`: the longest time, including the name look-up. The error names each
/// address that was tried and its failure.
pub async fn dial(host: &str, port: u16, within: Duration) -> io::Result<TcpStream> {
    let begun = Instant::now();
    let addresses = resolve(host, port, begun, within).await?;
    let stream = race(&addresses, begun, within).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The addresses of a host, in the order of trying. `host`: a name, or an IP address
/// without brackets.
async fn resolve(
    host: &str,
    port: u16,
    begun: Instant,
    within: Duration,
) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let name = host.to_owned();
    let looking = async {
        let permit = LOOKUPS.acquire().await.map_err(io::Error::other)?;
        // In a task, because a look-up continues after its caller gives up, and must keep its permit until it ends.
        let lookup = tokio::spawn(async move {
            let found = lookup_host((name.as_str(), port)).await.map(Vec::from_iter);
            drop(permit);
            found
        });
        lookup.await.map_err(io::Error::other)?
    };
    let addresses = match timeout_at(begun + within, looking).await {
        Ok(found) => found.map_err(|error| named(error.kind(), host, &error))?,
        Err(_) => {
            let why = format!("the name was not resolved within {within:?}");
            return Err(named(io::ErrorKind::TimedOut, host, &why));
        }
    };
    if addresses.is_empty() {
        return Err(named(io::ErrorKind::NotFound, host, &"the name has no address"));
    }
    Ok(interleaved(addresses))
}

/// Alternates IPv6 and IPv4, each family in the resolver's order, starting with the family of its first address.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let prefers_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == prefers_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = Vec::new();
    while turns.len() < ADDRESSES_MAX {
        let before = turns.len();
        turns.extend(first.next());
        turns.extend(second.next());
        if turns.len() == before {
            break;
        }
    }
    turns.truncate(ADDRESSES_MAX);
    turns
}

/// Tries all addresses until one answers.
async fn race(addresses: &[SocketAddr], begun: Instant, within: Duration) -> io::Result<TcpStream> {
    // The last address is tried when half of the time is left.
    let stagger = STAGGER.min(within / 2 / u32::try_from(addresses.len()).unwrap_or(u32::MAX));
    let mut waiting = addresses.iter();
    let mut attempts = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        match waiting.next() {
            Some(address) => attempts.push(attempt(*address, begun + within)),
            None if attempts.is_empty() => return Err(failed(&failures, within)),
            None => {}
        }
        tokio::select! {
            Some((address, outcome)) = attempts.next() => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => failures.push((address, error)),
            },
            () = sleep(stagger), if waiting.len() > 0 => {}
        }
    }
}

async fn attempt(address: SocketAddr, deadline: Instant) -> (SocketAddr, io::Result<TcpStream>) {
    let outcome = timeout_at(deadline, TcpStream::connect(address)).await;
    (address, outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())))
}

/// The failure of each address.
fn failed(failures: &[(SocketAddr, io::Error)], within: Duration) -> io::Error {
    let mut text = String::new();
    for (address, error) in failures {
        let separator = if text.is_empty() { "" } else { "; " };
        let written = match error.kind() {
            io::ErrorKind::TimedOut => {
                write!(text, "{separator}{address}: no answer within {within:?}")
            }
            _ => write!(text, "{separator}{address}: {error}"),
        };
        written.expect("a text takes all that is written to it");
    }
    let kind = failures.last().map_or(io::ErrorKind::NotFound, |(_, error)| error.kind());
    io::Error::new(kind, text)
}

fn named(kind: io::ErrorKind, host: &str, why: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(kind, format!("{host}: {why}"))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use socket2::{Domain, Socket, Type};

    use super::*;

    const WITHIN: Duration = Duration::from_secs(5);

    /// An address that drops packets: no process accepts there, and the backlog is full.
    struct BlackHole {
        address: SocketAddr,
        _listener: Socket,
        _backlog: Vec<Socket>,
    }

    impl BlackHole {
        fn new() -> Self {
            let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            listener.bind(&any.into()).unwrap();
            listener.listen(1).unwrap();
            let address = listener.local_addr().unwrap().as_socket().unwrap();
            // Linux accepts one more than the backlog; the rest get no answer.
            let fill = |_| {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                socket.set_nonblocking(true).unwrap();
                let _ = socket.connect(&address.into());
                socket
            };
            Self { address, _listener: listener, _backlog: (0..4).map(fill).collect() }
        }
    }

    fn refusing() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap()
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_does_not_delay_the_next_one_for_long() {
        let (silent, listener) = (BlackHole::new(), TcpListener::bind("127.0.0.1:0").unwrap());
        let good = listener.local_addr().unwrap();
        let begun = Instant::now();
        let stream = race(&[silent.address, good], begun, WITHIN).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(begun.elapsed() < WITHIN / 2, "the silent one was not waited for");
    }

    #[tokio::test]
    async fn after_a_refusal_the_next_address_is_tried_immediately() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let addresses: Vec<_> = (0..10).map(|_| refusing()).chain([good]).collect();
        let begun = Instant::now();
        let stream = race(&addresses, begun, WITHIN).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(begun.elapsed() < 8 * STAGGER, "nobody waits after a refusal");
    }

    #[tokio::test]
    async fn the_last_of_many_addresses_is_tried_in_time() {
        let silent = BlackHole::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let mut addresses = vec![silent.address; ADDRESSES_MAX - 1];
        addresses.push(good);
        let within = Duration::from_secs(2);
        assert!(race(&addresses, Instant::now(), within).await.is_ok());
    }

    #[tokio::test]
    async fn the_error_names_each_address_and_its_failure() {
        let (silent, refusing) = (BlackHole::new(), refusing());
        let within = Duration::from_millis(300);
        let error = race(&[silent.address, refusing], Instant::now(), within).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("{}: no answer within 300ms", silent.address)), "{text}");
        assert!(text.contains(&format!("{refusing}: Connection refused")), "{text}");
    }

    #[tokio::test]
    async fn the_error_names_a_host_that_has_no_address() {
        let error = dial("no-such-host.invalid", 1, WITHIN).await.unwrap_err().to_string();
        assert!(error.starts_with("no-such-host.invalid: "), "{error}");
    }

    #[test]
    fn ipv6_and_ipv4_addresses_alternate() {
        let of = |texts: &[&str]| texts.iter().map(|it| it.parse().unwrap()).collect::<Vec<_>>();
        let found = of(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"]);
        let turns = of(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"]);
        assert_eq!(interleaved(found), turns);
        assert!(interleaved(vec!["10.0.0.1:1".parse().unwrap(); 99]).len() == ADDRESSES_MAX);
    }
}
