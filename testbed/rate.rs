//! How much the watch takes in: background traffic at a given rate, of which nothing may be lost unsaid, and of which
//! nothing may be said, whether it was lost or not.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use blockscope::capture::capture_set::CaptureSet;
use blockscope::capture::source::{RecordBatch, Source as _, Supply};
use blockscope::scenario::bulk::{BulkOptions, Mix, forge_bulk};
use pcap::Capture;

use crate::mix::{Place, blockscope};
use crate::process::{Running, wait_until};
use crate::told;

const METRICS: &str = "127.0.0.1:9464";
/// Frames a second, and seconds, unless `BLOCKSCOPE_TESTBED_RATE=RATE:SECONDS` says otherwise. A build for development
/// holds this; a release holds 100 000.
const USUAL: (u64, u64) = (10_000, 4);
/// Frames of the flood that must not fit.
const FLOOD: u64 = 150_000;

/// Runs both: a rate that must be held, and a flood that cannot be.
pub(crate) fn run() -> Result<(), String> {
    let place = Place::new("rate")?;
    let dir = place.path();
    let (rate, seconds) = std::env::var("BLOCKSCOPE_TESTBED_RATE")
        .ok()
        .and_then(|text| {
            let (rate, seconds) = text.split_once(':')?;
            Some((rate.parse().ok()?, seconds.parse().ok()?))
        })
        .unwrap_or(USUAL);
    shell("ip link set lo up")?;
    shell("ip link add seen0 mtu 9000 type veth peer name sent0 mtu 9000")?;
    for name in ["seen0", "sent0"] {
        // Without IPv6 of its own and without ARP the kernel sends nothing by itself.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
        shell(&format!("ip link set {name} up arp off"))?;
    }
    held(dir, rate, seconds)?;
    flooded(dir)
}

fn held(dir: &Path, rate: u64, seconds: u64) -> Result<(), String> {
    let traffic = background(dir, "held.pcap", rate * seconds, 3)?;
    let watch = Watch::start(dir, "held", 64)?;
    let cpu_before = watch.cpu();
    let begun = Instant::now();
    let mut flood = Running::start("flood", dir, &mut flood(&traffic, rate)?)?;
    let status = flood.wait(Duration::from_secs(seconds * 4 + 60))?;
    if !status.success() {
        return Err(flood.said());
    }
    let sending = begun.elapsed();
    watch.wait_for(rate * seconds)?;
    let lag = begun.elapsed() - sending;
    let cpu = watch.cpu() - cpu_before;
    let memory = watch.memory();
    let (taken, lost) = watch.end(dir, "held")?;
    println!(
        "testbed: {rate} packets/s for {seconds} s (sent in {:.1} s): {taken} taken in, {lost} lost, the last one {:.2} s \
         after it was sent at the most; processor {:.0} %, memory {} MiB",
        sending.as_secs_f64(),
        lag.as_secs_f64(),
        cpu / sending.as_secs_f64() * 100.0,
        memory / 1024
    );
    if lost > 0 {
        return Err(format!("{lost} of {} packets were lost", rate * seconds));
    }
    expect_nothing(dir, "held")
}

/// The watch is stopped while more is sent than its ring holds: what is lost must be what is missing.
fn flooded(dir: &Path) -> Result<(), String> {
    let traffic = background(dir, "flood.pcap", FLOOD, 5)?;
    let watch = Watch::start(dir, "flooded", 2)?;
    // Some is taken in, so that flows are known that are then hit; then nothing; then the rest again.
    watch.process.signal("STOP")?;
    let mut flood = Running::start("flood", dir, &mut flood(&traffic, 0)?)?;
    let status = flood.wait(Duration::from_secs(60))?;
    if !status.success() {
        return Err(flood.said());
    }
    watch.process.signal("CONT")?;
    watch.wait_for(FLOOD)?;
    let (taken, lost) = watch.end(dir, "flooded")?;
    println!("testbed: {FLOOD} packets at a stopped watch with a ring of 2 MiB: {taken} taken in, {lost} lost");
    if taken + lost != FLOOD {
        return Err(format!(
            "{taken} taken in and {lost} lost are not the {FLOOD} that were sent"
        ));
    }
    if lost == 0 || taken == 0 {
        return Err("the flood was no flood".into());
    }
    expect_nothing(dir, "flooded")
}

fn expect_nothing(dir: &Path, name: &str) -> Result<(), String> {
    let told = told::read(&dir.join(format!("{name}.json")))?;
    if told.is_empty() {
        Ok(())
    } else {
        Err(format!("something was said of background traffic: {told:?}"))
    }
}

fn shell(line: &str) -> Result<(), String> {
    let status = Command::new("sh").args(["-c", line]).status();
    if status.is_ok_and(|status| status.success()) {
        Ok(())
    } else {
        Err(line.to_owned())
    }
}

fn background(dir: &Path, name: &str, packets: u64, seed: u64) -> Result<std::path::PathBuf, String> {
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

fn flood(traffic: &Path, rate: u64) -> Result<Command, String> {
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
struct Watch {
    process: Running,
}

impl Watch {
    fn start(dir: &Path, name: &str, ring: u32) -> Result<Self, String> {
        let mut command = Command::new(blockscope());
        command
            .args(["watch", "-i", "seen0", "--format", "eve", "--metrics", METRICS])
            .args(["--buffer", &ring.to_string(), "-o"])
            .arg(dir.join(format!("{name}.json")));
        let process = Running::start(&format!("watch-{name}"), dir, &mut command)?;
        wait_until("watch captures", || {
            let sockets = fs::read_to_string("/proc/self/net/packet").unwrap_or_default();
            sockets.lines().any(|line| line.contains(" 0003 "))
        })?;
        Ok(Self { process })
    }

    /// A count of its metrics, all labels together.
    fn count(name: &str) -> u64 {
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
    fn wait_for(&self, sent: u64) -> Result<(), String> {
        let mut seen = 0;
        wait_until("all packets are accounted for", || {
            seen = Self::count("packets_total") + Self::count("lost_packets_total");
            seen >= sent
        })
        .map_err(|problem| format!("{problem}: {seen} of {sent}; {}", self.process.said()))
    }

    /// Seconds of processor time it has taken.
    fn cpu(&self) -> f64 {
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
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    }

    /// Ends it; gives the packets it took in and those it says were lost.
    fn end(mut self, dir: &Path, name: &str) -> Result<(u64, u64), String> {
        self.process.signal("INT")?;
        let status = self.process.wait(crate::process::PATIENCE)?;
        if status.code() != Some(0) {
            return Err(format!("watch ended with {status}: {}", self.process.said()));
        }
        let text = fs::read_to_string(dir.join(format!("{name}.json"))).map_err(|error| error.to_string())?;
        let last = text.lines().last().unwrap_or_default();
        let stats: serde_json::Value = serde_json::from_str(last).map_err(|error| error.to_string())?;
        let file = &stats["stats"]["files"][0];
        let count = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
        Ok((
            count(&file["frames"]),
            count(&file["lost"]["kernel"]) + count(&file["lost"]["interface"]),
        ))
    }
}
