//! Tests on interfaces made for them: in a network namespace of the test's own, which is gone with it.
//!
//! A test runs itself again inside the namespace. Where none can be made it says so and passes.

#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use blockscope::capture::capture_set::CaptureSet;
use blockscope::capture::source::{RecordBatch, Source, Supply};
use blockscope::time::Timestamp;
use serde_json::Value;

/// Says that we are inside the namespace.
pub const INSIDE: &str = "BLOCKSCOPE_TEST_INSIDE";

pub fn trace(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
        .join("trace.pcap")
}

pub fn blockscope() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("blockscope"))
}

/// Runs `test`, with its module before it, inside a network namespace, where one can be made.
pub fn inside(test: &str) {
    inside_by(test, &["-Urn", "--kill-child"]);
}

/// The same, with these arguments of `unshare`.
pub fn inside_by(test: &str, how: &[&str]) {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(how);
        command
    };
    let possible = unshare()
        .args(["sh", "-c", "ip link add t0 type veth peer name t1"])
        .output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no network namespace with virtual interfaces can be made here");
        return;
    }
    if blockscope()
        .arg("interfaces")
        .output()
        .is_ok_and(|output| !output.status.success())
    {
        eprintln!("skipped: libpcap is not installed");
        return;
    }
    let status = unshare()
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test}: {status}");
}

pub fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

pub fn assert_inside() {
    assert!(std::env::var_os(INSIDE).is_some(), "not inside");
}

/// A pair of interfaces: what is sent on the second is seen on the first. Nobody else sends.
pub fn pair(index: usize) -> (String, String) {
    let (seen, sent) = (format!("seen{index}"), format!("sent{index}"));
    ip(&format!("link add {seen} mtu 9000 type veth peer name {sent} mtu 9000"));
    for name in [&seen, &sent] {
        // Without IPv6 of its own the kernel sends nothing by itself.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
        ip(&format!("link set {name} up arp off"));
    }
    (seen, sent)
}

/// The first pair of interfaces, and a directory in which a watch of it writes its log.
pub struct Stage {
    pub dir: tempfile::TempDir,
    /// What is sent on the other is seen here.
    pub seen: String,
    pub sent: String,
}

/// The ring of a watch that is to see little.
pub const SMALL: [&str; 2] = ["--buffer", "4"];

impl Stage {
    pub fn set() -> Self {
        assert_inside();
        let (seen, sent) = pair(0);
        let dir = tempfile::tempdir().unwrap();
        Self { dir, seen, sent }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn log(&self) -> PathBuf {
        self.path("log")
    }

    /// What a watch needs to be told to write records into the log.
    pub fn arguments(&self, more: &[&str]) -> Vec<String> {
        let log = self.log();
        let own = ["-i", &self.seen, "--format", "eve", "-o", log.to_str().unwrap()];
        own.iter().chain(more).map(|word| (*word).to_owned()).collect()
    }

    pub fn watch(&self, more: &[&str]) -> Watching {
        Watching::start(&self.arguments(more))
    }

    /// What the log holds by now.
    pub fn told(&self) -> String {
        fs::read_to_string(self.log()).unwrap()
    }

    pub fn wait_for_finding(&self, part: &str) {
        wait_until("a finding is told", || self.told().contains(part));
    }
}

/// The lines of a log, each of which must be a whole record.
pub fn records(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A running `watch`, ended when dropped.
pub struct Watching(pub Child, tempfile::NamedTempFile);

impl Watching {
    pub fn start(arguments: &[impl AsRef<OsStr>]) -> Self {
        Self::start_with(arguments, &[])
    }

    pub fn start_with(arguments: &[impl AsRef<OsStr>], variables: &[(&str, &str)]) -> Self {
        Self::started(arguments, variables, Stdio::null())
    }

    pub fn start_to(arguments: &[impl AsRef<OsStr>], stdout: Stdio) -> Self {
        Self::started(arguments, &[], stdout)
    }

    fn started(arguments: &[impl AsRef<OsStr>], variables: &[(&str, &str)], stdout: Stdio) -> Self {
        let captures = sockets();
        let said = tempfile::NamedTempFile::new().unwrap();
        let child = blockscope()
            .arg("watch")
            .args(arguments)
            .env_remove("SUDO_UID")
            .envs(variables.iter().copied())
            .stdout(stdout)
            .stderr(said.reopen().unwrap())
            .spawn()
            .unwrap();
        let mut watching = Self(child, said);
        wait_until("watch captures", || {
            let ended = watching.0.try_wait().unwrap();
            assert!(ended.is_none(), "{}", watching.said());
            sockets() > captures
        });
        watching
    }

    pub fn take_stdout(&mut self) -> ChildStdout {
        self.0.stdout.take().unwrap()
    }

    /// What it has said on standard error so far.
    pub fn said(&self) -> String {
        fs::read_to_string(self.1.path()).unwrap()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Ends it with a signal: all must have gone well. Gives what it said on standard error.
    pub fn end_well(self) -> String {
        let (status, said) = self.end();
        assert_eq!(status, Some(0), "{said}");
        said
    }

    /// Ends it with a signal, and gives its status and what it said on standard error.
    pub fn end(self) -> (Option<i32>, String) {
        self.signal("INT");
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let mut ended = None;
        wait_until("watch ends", || {
            ended = self.0.try_wait().unwrap();
            ended.is_some()
        });
        (ended.and_then(|status| status.code()), self.said())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Packet sockets in this namespace.
pub fn sockets() -> usize {
    fs::read_to_string("/proc/self/net/packet")
        .unwrap()
        .lines()
        .filter(|line| line.contains(" 0003 "))
        .count()
}

/// Waits for half a minute at the most.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..300 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("never: {what}");
}

/// Sends the frames of a capture on `interface`, at the pace they were captured at.
pub fn replay(capture: &Path, interface: &str) {
    let mut sender = pcap::Capture::from_device(interface).unwrap().open().unwrap();
    let mut source = CaptureSet::open(&[capture.to_owned()]);
    let mut batch = RecordBatch::default();
    let mut before: Option<Timestamp> = None;
    while source.supply(&mut batch).unwrap() == Supply::Records {
        for record in &batch.records {
            thread::sleep(before.map_or(Duration::ZERO, |before| record.at.since(before)));
            before = Some(record.at);
            sender.sendpacket(batch.frame(record).bytes).unwrap();
        }
    }
}

/// Kind, verdict and name of each `block` record.
pub fn findings(eve: &str) -> BTreeSet<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    eve.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|record| record["event_type"] == "block")
        .map(|record| {
            let block = &record["block"];
            (
                text(&block["kind"]),
                text(&block["verdict"]),
                text(&block["trigger"]["value"]),
            )
        })
        .collect()
}

/// What a GET of `path` at `address` brings; empty while nobody answers.
pub fn get(address: &str, path: &str) -> String {
    let Ok(mut stream) = std::net::TcpStream::connect(address) else {
        return String::new();
    };
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes())
        .unwrap();
    std::io::read_to_string(stream).unwrap_or_default()
}

/// The frames of a capture.
pub fn frames(capture: &Path) -> Vec<Vec<u8>> {
    let mut source = CaptureSet::open(&[capture.to_owned()]);
    let mut batch = RecordBatch::default();
    let mut frames = Vec::new();
    while source.supply(&mut batch).unwrap() == Supply::Records {
        frames.extend(batch.records.iter().map(|record| batch.frame(record).bytes.to_vec()));
    }
    frames
}

/// Sends frames on `interface`, one after the other.
pub fn send(frames: &[Vec<u8>], interface: &str) {
    let mut sender = pcap::Capture::from_device(interface).unwrap().open().unwrap();
    for frame in frames {
        sender.sendpacket(frame.as_slice()).unwrap();
    }
}
