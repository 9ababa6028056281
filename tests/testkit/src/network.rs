//! A network namespace for a server, with links that can be cut: packets are lost, and neither end
//! notices. Dropping it removes the namespace and its links.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use crate::eventually;
use crate::process::Process;

pub struct Network {
    /// The namespace exists as long as this process.
    holder: Process,
    /// By number.
    links: Vec<Link>,
}

struct Link {
    /// The device at this end.
    device: String,
    /// The address of the other end.
    far: Ipv4Addr,
}

impl Network {
    /// Fails with the reason if this system or user cannot create network namespaces.
    pub async fn with_links(count: usize) -> Result<Self, String> {
        // Checked first with a command that ends.
        run("unshare", &["--net", "true"])?;
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "infinity"]);
        let holder = Process::spawn("a network", command);
        let theirs = format!("/proc/{}/ns/net", holder.id());
        eventually("a network to be there", async || {
            let both = (fs::read_link(&theirs).ok()?, fs::read_link("/proc/self/ns/net").ok()?);
            (both.0 != both.1).then_some(())
        })
        .await;
        let mut network = Self { holder, links: Vec::new() };
        network.ip_within("link set lo up")?;
        for number in 0..count {
            let link = network.add_link(number)?;
            network.links.push(link);
        }
        Ok(network)
    }

    /// The address of a server within the namespace, through this link.
    pub fn address(&self, link: usize) -> Ipv4Addr {
        self.links[link].far
    }

    /// The command prefix that runs a command within the namespace.
    pub fn enter_command(&self) -> Vec<String> {
        let target = self.holder.id().to_string();
        ["nsenter", "--target", &target, "--net"].map(str::to_owned).to_vec()
    }

    /// From now on all packets are lost without a notification.
    pub fn cut(&self, link: usize) {
        self.ip_within(&format!("link set port{link} nomaster")).expect("a link is cut");
    }

    pub fn restore(&self, link: usize) {
        let command = format!("link set port{link} master bridge{link}");
        self.ip_within(&command).expect("a link is mended");
    }

    /// A pair of devices behind a bridge that can be disconnected without either end noticing. The hardware
    /// addresses are static, because ARP would reveal the cut.
    fn add_link(&self, number: usize) -> Result<Link, String> {
        let [a, b]: [u8; 2] = rand::random();
        let (near, far) = (Ipv4Addr::new(10, a, b, 1), Ipv4Addr::new(10, a, b, 2));
        let hardware = |end: u8| format!("02:00:0a:{a:02x}:{b:02x}:{end:02x}");
        let (near_hardware, far_hardware) = (hardware(1), hardware(2));
        let device = format!("tg{a:02x}{b:02x}{number}");
        let holder = self.holder.id();
        ip(&format!("link add {device} type veth peer name port{number} netns {holder}"))?;
        ip(&format!("addr add {near}/30 dev {device}"))?;
        ip(&format!("link set {device} address {near_hardware} up"))?;
        ip(&format!("neigh replace {far} lladdr {far_hardware} nud permanent dev {device}"))?;
        for command in [
            format!("link add bridge{number} address {far_hardware} type bridge"),
            format!("link set port{number} master bridge{number} up"),
            format!("link set bridge{number} up"),
            format!("addr add {far}/30 dev bridge{number}"),
            format!("neigh replace {near} lladdr {near_hardware} nud permanent dev bridge{number}"),
        ] {
            self.ip_within(&command)?;
        }
        Ok(Link { device, far })
    }

    fn ip_within(&self, command: &str) -> Result<(), String> {
        let entrance = self.enter_command();
        let mut words: Vec<&str> = entrance[1..].iter().map(String::as_str).collect();
        words.push("ip");
        words.extend(command.split(' '));
        run(&entrance[0], &words)
    }
}

impl Drop for Network {
    /// The kernel keeps a namespace with its links until the connections within it have ended, which is a
    /// minute after all its processes were killed.
    fn drop(&mut self) {
        for link in &self.links {
            // Fails only if it is already gone.
            let _ = ip(&format!("link del {}", link.device));
        }
    }
}

fn ip(command: &str) -> Result<(), String> {
    run("ip", &command.split(' ').collect::<Vec<_>>())
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(format!("{program} {}: {why}", arguments.join(" ")))
        }
        Err(error) => Err(format!("{program}: {error}")),
    }
}
