//! A link on which only the testbed sends, and a `watch` on it that counts.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use blockscope::capture::capture_set::CaptureSet;
use blockscope::capture::source::{RecordBatch, Source as _, Supply};
use blockscope::scenario::bulk::{BulkOptions, Mix, forge_bulk};
use pcap::Capture;

use crate::mix::blockscope;
use crate::process::{PATIENCE, Running, wait_until};

/// Where the watch tells its counts.
pub(crate) const METRICS: &str = "127.0.0.1:9464";

/// Makes the link anew: what is sent on `sent0` is seen on `seen0`.
pub(crate) fn make() -> Result<(), String> {
    shell("ip link set lo up")?;
    // One of an earlier part goes.
    let _ = shell("ip link del seen0 2>/dev/null");
    shell("ip link add seen0 mtu 9000 type veth peer name sent0 mtu 9000")?;
    for name in ["seen0", "sent0"] {
        // Without IPv6 of its own and without ARP the kernel sends nothing by itself.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
        shell(&format!("ip link set {name} up arp off"))?;
    }
    Ok(())
}

/// Captures that run here.
pub(crate) fn captures() -> usize {
    let sockets = fs::read_to_string("/proc/self/net/packet").unwrap_or_default();
    sockets.lines().filter(|line| line.contains(" 0003 ")).count()
}

/// Packets that passed the interface they are sent on, and those that did not, as the kernel counts them.
pub(crate) fn passed_and_dropped() -> Result<(u64, u64), String> {
    // Not in /sys, which shows the network it was mounted in.
    let text = fs::read_to_string("/proc/self/net/dev").map_err(|error| error.to_string())?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("sent0:"));
    let fields: Vec<u64> = line
        .unwrap_or_default()
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    // Eight columns of what was received, then bytes, packets, errors and drops of what was sent.
    match fields[..] {
        [_, _, _, _, _, _, _, _, _, packets, _, drops, ..] => Ok((packets, drops)),
        _ => Err(format!("nothing is counted of sent0: {text}")),
    }
}

/// A processor this process may run at.
pub(crate) fn processor() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let first = line.and_then(|list| list.trim().split([',', '-']).next()?.parse().ok());
    first.unwrap_or(0)
}

/// Runs a line of shell.
pub(crate) fn shell(line: &str) -> Result<(), String> {
    let status = Command::new("sh").args(["-c", line]).status();
    if status.is_ok_and(|status| status.success()) {
        Ok(())
    } else {
        Err(line.to_owned())
    }
}

/// Traffic in which nothing is blocked.
pub(crate) fn background(dir: &Path, name: &str, packets: u64, seed: u64) -> Result<PathBuf, String> {
    let path = dir.join(name);
    let file = File::create(&path).map_err(|error| error.to_string())?;
    let options = BulkOptions {
        mix: Mix::Uplink,
        packets,
        flows: 5_000,
        attacked: 0.0,
        seed,
    };
    forge_bulk(&options, &mut BufWriter::new(file)).map_err(|error| error.to_string())?;
    Ok(path)
}

/// Sends a capture, in a process of its own.
pub(crate) fn flood(traffic: &Path, rate: u64) -> Result<Command, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(own);
    command.arg("flood").arg(traffic).args(["sent0", &rate.to_string()]);
    Ok(command)
}

/// `flood CAPTURE INTERFACE RATE`: sends a capture's frames at this rate, or as fast as it can where that is 0.
pub(crate) fn send(arguments: &[String]) -> Result<(), String> {
    let [capture, interface, rate] = arguments else {
        return Err("flood: arguments are missing".into());
    };
    let rate: u32 = rate.parse().map_err(|_| "flood: no rate")?;
    let wrong = |error: pcap::Error| format!("{interface}: {error}");
    let mut out = Capture::from_device(interface.as_str())
        .map_err(wrong)?
        .open()
        .map_err(wrong)?;
    let mut source = CaptureSet::open(&[Path::new(capture).to_owned()]);
    let mut batch = RecordBatch::default();
    let begun = Instant::now();
    let mut sent: u32 = 0;
    while let Ok(Supply::Records) = source.supply(&mut batch) {
        for record in &batch.records {
            // The frames of a millisecond leave together.
            while rate > 0 && Duration::from_secs(1) * sent / rate > begun.elapsed() {
                thread::sleep(Duration::from_millis(1));
            }
            while out.sendpacket(batch.frame(record).bytes).is_err() {
                thread::sleep(Duration::from_millis(1));
            }
            sent += 1;
        }
    }
    println!("{sent} sent in {:.2} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// A running `watch` with its counts.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) process: Running,
}

impl Watch {
    /// Starts it with a ring of so many MiB; what it finds goes to `log`.
    pub(crate) fn start(dir: &Path, name: &str, log: &Path, ring: u32) -> Result<Self, String> {
        Self::started(Command::new(blockscope()), dir, name, log, ring)
    }

    /// The same at one processor only, and there behind everybody else.
    pub(crate) fn start_last(dir: &Path, name: &str, log: &Path, ring: u32, processor: u32) -> Result<Self, String> {
        let mut command = Command::new("taskset");
        command
            .args(["-c", &processor.to_string(), "nice", "-n", "19"])
            .arg(blockscope());
        Self::started(command, dir, name, log, ring)
    }

    fn started(mut command: Command, dir: &Path, name: &str, log: &Path, ring: u32) -> Result<Self, String> {
        command
            .args(["watch", "-i", "seen0", "--format", "eve", "--metrics", METRICS])
            .args(["--buffer", &ring.to_string(), "-o"])
            .arg(log);
        let before = captures();
        let process = Running::start(&format!("watch-{name}"), dir, &mut command)?;
        wait_until("watch captures", || captures() > before)?;
        Ok(Self { process })
    }

    /// A count of its metrics, all labels together.
    pub(crate) fn count(name: &str) -> u64 {
        let output = Command::new("curl")
            .args(["-s", "-m", "2", &format!("http://{METRICS}/metrics")])
            .output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .lines()
            .filter(|line| line.starts_with(&format!("blockscope_{name}")))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// Waits until all that was sent was taken in or counted as lost.
    pub(crate) fn wait_for(&self, sent: u64) -> Result<(), String> {
        let mut seen = 0;
        wait_until("all packets are accounted for", || {
            seen = Self::count("packets_total") + Self::count("lost_packets_total");
            seen >= sent
        })
        .map_err(|problem| format!("{problem}: {seen} of {sent}; {}", self.process.said()))
    }

    /// Seconds of processor time it has taken.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.pid())).unwrap_or_default();
        // Behind the name in brackets: state is the first field, user and system time the 12th and 13th.
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .map(|field| field.parse().unwrap_or(0))
            .collect();
        let ticks = fields.get(11).unwrap_or(&0) + fields.get(12).unwrap_or(&0);
        // The kernel tells user space 100 ticks a second on every architecture.
        ticks as f64 / 100.0
    }

    /// The most memory it has held, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    }

    /// Ends it; gives the packets it took in and those it says were lost.
    pub(crate) fn end(mut self, log: &Path) -> Result<(u64, u64), String> {
        self.process.signal("INT")?;
        let status = self.process.wait(PATIENCE)?;
        if status.code() != Some(0) {
            return Err(format!("watch ended with {status}: {}", self.process.said()));
        }
        taken_and_lost(log)
    }
}

/// The packets a watch took in and those it says were lost, as its last record tells.
pub(crate) fn taken_and_lost(log: &Path) -> Result<(u64, u64), String> {
    let text = fs::read_to_string(log).map_err(|error| error.to_string())?;
    let last = text.lines().last().unwrap_or_default();
    let stats: serde_json::Value = serde_json::from_str(last).map_err(|error| error.to_string())?;
    let file = &stats["stats"]["files"][0];
    let count = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
    Ok((
        count(&file["frames"]),
        count(&file["lost"]["kernel"]) + count(&file["lost"]["interface"]),
    ))
}
