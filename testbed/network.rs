//! Namespaces, links between them, addresses and routes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::process::Running;

/// Clients. The second sends no TCP timestamps, as Windows does not by default.
pub(crate) const CLIENTS: usize = 4;

/// The name of a client's namespace, counted from 1.
pub(crate) fn client(number: usize) -> String {
    format!("c{number}")
}

/// Namespaces, each held by a process.
#[derive(Debug)]
pub(crate) struct Network {
    boxes: BTreeMap<String, Running>,
}

impl Network {
    /// Makes the network of the drawing; the servers' machine has `sites` addresses (see [`site_v4`]), and those of
    /// `intercepted` lead to the interceptor instead.
    pub(crate) fn build(dir: &Path, sites: u8, intercepted: &[u8]) -> Result<Self, String> {
        let mut network = Self { boxes: BTreeMap::new() };
        let clients: Vec<String> = (1..=CLIENTS).map(client).collect();
        let others = ["r1", "near", "r2", "far", "r3", "sv", "ic"];
        for name in clients.iter().map(String::as_str).chain(others) {
            network.add(name, dir)?;
        }
        let links = [
            ("r1", "tap0", "near", "in"),
            ("near", "out", "r2", "up0"),
            ("r2", "far0", "far", "in"),
            ("far", "out", "r3", "up0"),
            ("r3", "sv0", "sv", "eth0"),
            ("r2", "ic0", "ic", "eth0"),
        ];
        for name in &clients {
            network.link("r1", name, name, "eth0")?;
        }
        for (one, here, other, there) in links {
            network.link(one, here, other, there)?;
        }
        let mut plan: BTreeMap<&str, String> = BTreeMap::new();
        for (number, name) in (1..).zip(&clients) {
            let own = plan.entry(name).or_default();
            let _ = write!(
                own,
                "address add 10.77.{number}.2/24 dev eth0\naddress add 10.77.{number}.3/24 dev eth0\nroute add default via 10.77.{number}.1\n\
                 address add 2a0d:7777:{number}::2/64 dev eth0 nodad\n\
                 route add default via 2a0d:7777:{number}::1\n"
            );
            let _ = write!(
                plan.entry("r1").or_default(),
                "address add 10.77.{number}.1/24 dev {name}\naddress add 2a0d:7777:{number}::1/64 dev {name} nodad\n"
            );
        }
        // Routers' links: IPv4 10.78.N.0/30, IPv6 2a0d:7777:10N::/64.
        let hops = [
            ("r1", "tap0", 0, 1),
            ("r2", "up0", 0, 2),
            ("r2", "far0", 1, 1),
            ("r3", "up0", 1, 2),
            ("r3", "sv0", 2, 1),
            ("sv", "eth0", 2, 2),
            ("r2", "ic0", 3, 1),
            ("ic", "eth0", 3, 2),
        ];
        for (name, interface, link, end) in hops {
            let _ = write!(
                plan.entry(name).or_default(),
                "address add 10.78.{link}.{end}/30 dev {interface}\n\
                 address add 2a0d:7777:10{link}::{end}/64 dev {interface} nodad\n"
            );
        }
        let ways = [
            ("r1", "0.0.0.0/0", "10.78.0.2", "::/0", "2a0d:7777:100::2"),
            ("r2", "0.0.0.0/0", "10.78.1.2", "::/0", "2a0d:7777:101::2"),
            ("r2", "10.77.0.0/16", "10.78.0.1", "2a0d:7777::/56", "2a0d:7777:100::1"),
            ("r3", "0.0.0.0/0", "10.78.1.1", "::/0", "2a0d:7777:101::1"),
            ("r3", "45.80.0.0/12", "10.78.2.2", "2a0d:8888::/32", "2a0d:7777:102::2"),
            ("sv", "0.0.0.0/0", "10.78.2.1", "::/0", "2a0d:7777:102::1"),
            ("ic", "0.0.0.0/0", "10.78.3.1", "::/0", "2a0d:7777:103::1"),
        ];
        for (name, net, via, net6, via6) in ways {
            let _ = write!(
                plan.entry(name).or_default(),
                "route add {net} via {via}\nroute add {net6} via {via6}\n"
            );
        }
        for number in 1..=CLIENTS {
            let _ = writeln!(
                plan.entry("r2").or_default(),
                "route add 2a0d:7777:{number}::/64 via 2a0d:7777:100::1"
            );
        }
        for site in 0..=sites {
            let _ = write!(
                plan.entry("sv").or_default(),
                "address add {}/32 dev lo\naddress add {}/32 dev lo\naddress add {}/128 dev lo nodad\n",
                site_v4(site),
                beside_v4(site),
                site_v6(site)
            );
        }
        for other in [RESOLVER, LYING_RESOLVER, PORTAL_RESOLVER]
            .iter()
            .chain(&ABROAD)
            .chain(&HOME)
        {
            let _ = writeln!(plan.entry("sv").or_default(), "address add {other}/32 dev lo");
        }
        for site in intercepted {
            let address = site_v4(*site);
            let _ = writeln!(plan.entry("r2").or_default(), "route add {address}/32 via 10.78.3.2");
            let _ = writeln!(plan.entry("ic").or_default(), "address add {address}/32 dev lo");
        }
        for (name, batch) in &plan {
            network.batch(name, batch, dir)?;
        }
        network.shell("c2", "echo 0 > /proc/sys/net/ipv4/tcp_timestamps")?;
        // Relays forward by themselves; their kernels keep out of it.
        for name in ["near", "far"] {
            network.shell(
                name,
                "echo 0 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6",
            )?;
        }
        Ok(network)
    }

    fn add(&mut self, name: &str, dir: &Path) -> Result<(), String> {
        let mut command = Command::new("unshare");
        command.args(["-n", "sh", "-c", "echo held; exec sleep infinity"]);
        let mut holder = Running::start(name, dir, &mut command)?;
        holder.wait_to_hear("held")?;
        self.boxes.insert(name.to_owned(), holder);
        self.shell(
            name,
            "ip link set lo up
             echo 1 > /proc/sys/net/ipv4/ip_forward
             echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
             echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter
             echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects
             echo 0 > /proc/sys/net/ipv4/conf/default/send_redirects
             echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
             echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
             echo 0 > /proc/sys/net/ipv6/conf/default/router_solicitations
             echo 0 > /proc/sys/net/ipv4/tcp_no_metrics_save || true",
        )
    }

    /// A pair of virtual interfaces, without offloads: packets lie on it as they would on a cable.
    fn link(&self, one: &str, here: &str, other: &str, there: &str) -> Result<(), String> {
        let (near, far) = (self.pid(one)?, self.pid(other)?);
        shell(
            Command::new("ip").args(["link", "add", "la0", "type", "veth", "peer", "name", "lb0"]),
            "a pair of interfaces",
        )?;
        for (made, pid, name, called) in [("la0", near, one, here), ("lb0", far, other, there)] {
            let batch = format!("ip link set {made} netns {pid}");
            shell(Command::new("sh").args(["-c", &batch]), &batch)?;
            self.shell(
                name,
                &format!(
                    "ip link set {made} name {called} && \
                     ethtool -K {called} tx off rx off tso off gso off gro off >/dev/null 2>&1; \
                     ip link set {called} up"
                ),
            )?;
        }
        Ok(())
    }

    fn pid(&self, name: &str) -> Result<u32, String> {
        self.boxes
            .get(name)
            .map(Running::pid)
            .ok_or_else(|| format!("no box {name}"))
    }

    fn batch(&self, name: &str, lines: &str, dir: &Path) -> Result<(), String> {
        let file = dir.join(format!("{name}.ip"));
        std::fs::write(&file, lines).map_err(|error| error.to_string())?;
        shell(
            self.inside(name)?.args(["ip", "-batch"]).arg(&file),
            &format!("addresses of {name}"),
        )
    }

    /// A command that runs in a box; its program and arguments are to be added.
    pub(crate) fn inside(&self, name: &str) -> Result<Command, String> {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid(name)?.to_string(), "-n"]);
        Ok(command)
    }

    /// Runs a line of shell in a box.
    pub(crate) fn shell(&self, name: &str, line: &str) -> Result<(), String> {
        shell(self.inside(name)?.args(["sh", "-c", line]), line)
    }

    /// How many packet sockets a box has: captures that run there.
    pub(crate) fn captures(&self, name: &str) -> Result<usize, String> {
        let output = self
            .inside(name)?
            .args(["cat", "/proc/self/net/packet"])
            .output()
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        // A socket takes frames in only once it is bound to all protocols (0003).
        Ok(text.lines().filter(|line| line.contains(" 0003 ")).count())
    }
}

fn shell(command: &mut Command, what: &str) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{what}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{what}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// An honest resolver (unbound), one that lies (dnsmasq) and one of a captive portal (dnsmasq).
pub(crate) const RESOLVER: &str = "45.80.255.53";
pub(crate) const LYING_RESOLVER: &str = "45.80.255.54";
pub(crate) const PORTAL_RESOLVER: &str = "45.80.255.55";

/// Servers in networks of their own, which equipment calls `abroad`, and others.
pub(crate) const ABROAD: [&str; 8] = [
    "45.81.0.10",
    "45.82.0.10",
    "45.83.0.10",
    "45.84.0.10",
    "45.85.0.10",
    "45.86.0.10",
    "45.87.0.10",
    "45.88.0.10",
];
pub(crate) const HOME: [&str; 3] = ["45.89.0.10", "45.90.0.10", "45.91.0.10"];

/// Another address of a site's network.
pub(crate) fn beside_v4(site: u8) -> String {
    format!("45.80.{site}.11")
}

/// The address of a site. Nobody outside these namespaces is ever asked.
pub(crate) fn site_v4(site: u8) -> String {
    format!("45.80.{site}.10")
}

/// Its IPv6 address.
pub(crate) fn site_v6(site: u8) -> String {
    format!("2a0d:8888:{site:x}::10")
}
