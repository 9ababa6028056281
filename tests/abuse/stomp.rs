//! STOMP clients that send what never ends.

use testkit::client::{Client, Message};

use super::attack_size;
use super::victim::Victim;

/// How often each attack is repeated at the same time.
const CONNECTIONS: usize = 50;

async fn connected(victim: &Victim) -> Client {
    let mut client = Client::with_subprotocol(&victim.node, "/ws", "v12.stomp").await;
    client.send("CONNECT\naccept-version:1.2\n\n\0").await;
    assert!(client.receive_text().await.starts_with("CONNECTED\n"));
    client
}

/// The messages of an attack, and whether the node ends the connection for it.
fn attacks() -> Vec<(&'static str, Vec<String>, bool)> {
    let frames =
        |count: usize, frame: &dyn Fn(usize) -> String| (0..count).map(frame).collect::<String>();
    let parts = |text: &str, count: usize| vec![text.to_owned(); count];
    vec![
        ("headers", vec![format!("SEND\n{}\n\0", frames(10_000, &|at| format!("{at}:x\n")))], true),
        ("a head without end", parts(&"a".repeat(10_000), 3), true),
        (
            "a body without end",
            [vec!["SEND\ndestination:a\n\n".into()], parts(&"x".repeat(30_000), 4)].concat(),
            true,
        ),
        (
            "a giant content-length",
            vec!["SEND\ndestination:a\ncontent-length:18446744073709551615\n\n".into()],
            true,
        ),
        (
            "a body that stops",
            vec!["SEND\ndestination:a\ncontent-length:60000\n\n".into(), "x".repeat(50_000)],
            false,
        ),
        (
            "acknowledgements",
            parts(&frames(3_000, &|at| format!("ACK\nid:1@1-{at}\n\n\0")), 5),
            false,
        ),
        (
            "subscriptions",
            vec![frames(2_000, &|at| format!("SUBSCRIBE\nid:{at}\ndestination:c{at}\n\n\0"))],
            true,
        ),
        (
            "ids of one channel",
            vec![frames(2_000, &|at| format!("SUBSCRIBE\nid:{at}\ndestination:a\n\n\0"))],
            true,
        ),
        ("transactions", vec![frames(1_000, &|at| format!("BEGIN\ntransaction:{at}\n\n\0"))], true),
        (
            "a transaction without end",
            [
                vec!["BEGIN\ntransaction:t\n\n\0".into()],
                parts(
                    &format!("SEND\ndestination:a\ntransaction:t\n\n{}\0", "x".repeat(60_000)),
                    30,
                ),
            ]
            .concat(),
            true,
        ),
        ("line ends", parts(&"\n".repeat(60_000), 20), false),
        ("single bytes", parts("x", 5_000), false),
        ("escapes", vec![format!("SEND\ndestination:{}\n\n\0", "\\".repeat(10_001))], true),
    ]
}

#[tokio::test]
async fn floods_of_stomp_frames_end_their_own_connections_alone_and_memory_returns() {
    let mut victim =
        Victim::on_redis(&["limits.commands_per_second=0", "limits.bytes_per_second=0B"]).await;
    for (what, messages, ends) in attacks() {
        let mut clients = Vec::new();
        for _ in 0..attack_size(CONNECTIONS) {
            let mut client = connected(&victim).await;
            for message in &messages {
                if client.try_send(message.as_str()).await.is_err() {
                    break;
                }
            }
            clients.push(client);
        }
        victim.assert_served().await;
        for mut client in clients {
            if ends {
                let mut has_error = false;
                loop {
                    match client.next_frame().await {
                        Message::Close(_) => break,
                        Message::Text(text) => has_error |= text.as_str().starts_with("ERROR\n"),
                        _ => {}
                    }
                }
                assert!(has_error, "{what}: no ERROR");
            }
        }
    }
    victim.assert_recovered().await;
}
