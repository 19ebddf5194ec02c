//! `blockscope watch` on real interfaces: captures replayed onto a pair of virtual ones, in a network namespace of the
//! test's own that is gone with it. What is told live must be what reading the capture tells.
//!
//! The test runs itself again inside the namespace. Where none can be made it says so and passes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use blockscope::capture::capture_set::CaptureSet;
use blockscope::capture::source::{RecordBatch, Source, Supply};
use blockscope::fixture::reading::{Manner, read_file};
use blockscope::time::Timestamp;
use serde_json::Value;

/// Short captures of several kinds, and look-alikes.
const REPLAYED: [&str; 9] = [
    "benign-nxdomain",
    "dns-bogon-in-path",
    "fin-injection",
    "gfw-rst-triple-same-seq",
    "ipv6-rst",
    "kz-isca-2020",
    "pk-surf-safely",
    "syn-ack-hijack",
    "tls-alert-injection",
];

/// Says that we are inside the namespace.
const INSIDE: &str = "BLOCKSCOPE_TEST_INSIDE";

fn trace(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
        .join("trace.pcap")
}

fn blockscope() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("blockscope"))
}

/// Runs `test` of this file inside a network namespace, where one can be made.
fn inside(test: &str) {
    inside_by(test, &["-Urn", "--kill-child"]);
}

/// The same, with these arguments of `unshare`.
fn inside_by(test: &str, how: &[&str]) {
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

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// A pair of interfaces: what is sent on the second is seen on the first. Nobody else sends.
fn pair(index: usize) -> (String, String) {
    let (seen, sent) = (format!("seen{index}"), format!("sent{index}"));
    ip(&format!("link add {seen} mtu 9000 type veth peer name {sent} mtu 9000"));
    for name in [&seen, &sent] {
        // Without IPv6 of its own the kernel sends nothing by itself.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
        ip(&format!("link set {name} up arp off"));
    }
    (seen, sent)
}

/// A running `watch`, ended when dropped.
struct Watching(Child, tempfile::NamedTempFile);

impl Watching {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let captures = sockets();
        let said = tempfile::NamedTempFile::new().unwrap();
        let child = blockscope()
            .arg("watch")
            .args(arguments)
            .env_remove("SUDO_UID")
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
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

    /// What it has said on standard error so far.
    fn said(&self) -> String {
        fs::read_to_string(self.1.path()).unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Ends it with a signal, and gives its status and what it said on standard error.
    fn end(self) -> (Option<i32>, String) {
        self.signal("INT");
        self.wait()
    }

    /// Waits for its end.
    fn wait(mut self) -> (Option<i32>, String) {
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
fn sockets() -> usize {
    fs::read_to_string("/proc/self/net/packet")
        .unwrap()
        .lines()
        .filter(|line| line.contains(" 0003 "))
        .count()
}

/// Waits for half a minute at the most.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..300 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("never: {what}");
}

/// Sends the frames of a capture on `interface`, at the pace they were captured at.
fn replay(capture: &Path, interface: &str) {
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
fn findings(eve: &str) -> BTreeSet<(String, String, String)> {
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

#[test]
fn what_is_told_live_is_what_the_capture_tells() {
    inside("inside_what_is_told_live");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_what_is_told_live() {
    assert!(std::env::var_os(INSIDE).is_some(), "not inside");
    let dir = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        let started: Vec<_> = REPLAYED
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let (seen, sent) = pair(index);
                let out = dir.path().join(name);
                let arguments = [
                    "-i",
                    &seen,
                    "--format",
                    "eve",
                    "--buffer",
                    "4",
                    "-o",
                    out.to_str().unwrap(),
                ];
                (name, out.clone(), Watching::start(&arguments), sent)
            })
            .collect();
        // Senders hold sockets as well: they begin when all watch.
        let started: Vec<_> = started
            .into_iter()
            .map(|(name, out, watching, sent)| {
                let sending = scope.spawn(move || replay(&trace(name), &sent));
                (name, out, watching, sending)
            })
            .collect();
        for (name, out, watching, sending) in started {
            sending.join().unwrap();
            let expected = findings(&read_file(&trace(name), Manner::default()).unwrap());
            assert_eq!(expected.is_empty(), name.starts_with("benign-"));
            let told = || findings(&fs::read_to_string(&out).unwrap());
            if name.contains("rst") {
                // Told while it runs, not when it ends.
                wait_until("a finding is told", || !told().is_empty());
            }
            let (status, said) = watching.end();
            assert_eq!(status, Some(0), "{name}: {said}");
            assert_eq!(told(), expected, "{name}: {said}");
            let text = fs::read_to_string(&out).unwrap();
            let stats: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
            assert_eq!(stats["stats"]["files"][0]["lost"]["kernel"], 0, "{name}");
        }
    });
}

#[test]
fn a_watch_survives_an_interface_that_goes_and_a_log_that_is_rotated() {
    inside("inside_a_watch_survives");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_a_watch_survives() {
    assert!(std::env::var_os(INSIDE).is_some(), "not inside");
    let dir = tempfile::tempdir().unwrap();
    let (out, rotated) = (dir.path().join("log"), dir.path().join("log.1"));
    let (seen, sent) = pair(0);
    let arguments = [
        "-i",
        &seen,
        "--format",
        "eve",
        "--buffer",
        "4",
        "--keep-net-raw",
        "-o",
        out.to_str().unwrap(),
    ];
    let watching = Watching::start(&arguments);
    // Down for longer than a look at the interfaces takes to come round; then gone; then back under the same name.
    ip(&format!("link set {seen} down"));
    thread::sleep(Duration::from_secs(3));
    ip(&format!("link set {seen} up"));
    thread::sleep(Duration::from_secs(2));
    ip(&format!("link del {seen}"));
    thread::sleep(Duration::from_secs(2));
    let (seen_again, _) = pair(0);
    assert_eq!(seen_again, seen);
    wait_until("it captures again", || sockets() > 0);
    fs::rename(&out, &rotated).unwrap();
    watching.signal("HUP");
    wait_until("the log is opened anew", || out.exists());
    watching.signal("USR1");
    let capture = trace("dns-bogon-in-path");
    replay(&capture, &sent);
    wait_until("a finding is told", || {
        fs::read_to_string(&out).unwrap().contains("dns_injection")
    });
    let (status, said) = watching.end();
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(fs::read_to_string(&rotated).unwrap(), "");
    for part in ["went down", "cannot be read any more", "is back", "Inspected "] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// The values of `key` in the status of all threads of `pid`.
fn statuses(pid: u32, key: &str) -> BTreeSet<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let of = |status: String| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{key}:")).map(str::trim));
        line.map(str::to_owned).unwrap_or_default()
    };
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("status")).ok().map(of))
        .collect()
}

/// Waits until all threads of `pid` show that nothing is left to give up, and that it works.
fn wait_until_confined(pid: u32, caps: &str) {
    let only = |value: &str| BTreeSet::from([value.to_owned()]);
    wait_until("seccomp", || statuses(pid, "Seccomp") == only("2"));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let expected = if matches!(set, "CapInh" | "CapAmb") {
            "0000000000000000"
        } else {
            caps
        };
        assert_eq!(statuses(pid, set), only(expected), "{set}");
    }
    assert_eq!(statuses(pid, "NoNewPrivs"), only("1"));
}

#[test]
fn a_watch_gives_up_what_it_needs_no_more() {
    inside("inside_a_watch_gives_up");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_a_watch_gives_up() {
    assert!(std::env::var_os(INSIDE).is_some(), "not inside");
    let (allowed, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (out, other) = (allowed.path().join("log"), elsewhere.path().join("log"));
    let (seen, _sent) = pair(0);
    let started = |more: &[&str]| {
        let arguments = [
            "-i",
            &seen,
            "--buffer",
            "4",
            "--threads",
            "2",
            "-o",
            out.to_str().unwrap(),
        ];
        Watching::start(&[&arguments, more].concat())
    };
    let keeping = started(&["--keep-net-raw", "--metrics", "127.0.0.1:0"]);
    wait_until_confined(keeping.0.id(), "0000000000002000");
    assert_eq!(keeping.end().0, Some(0));

    let watching = started(&[]);
    wait_until_confined(watching.0.id(), "0000000000000000");
    // Its own directory is open to it, and no other: not by way of a link either.
    fs::remove_file(&out).unwrap();
    watching.signal("HUP");
    wait_until("the log is made anew", || out.exists());
    fs::remove_file(&out).unwrap();
    std::os::unix::fs::symlink(&other, &out).unwrap();
    watching.signal("HUP");
    // The deletion of the only interface is an end with an error, because no other can be opened.
    ip(&format!("link del {seen}"));
    let (status, said) = watching.wait();
    assert_eq!(status, Some(3), "{said}");
    assert!(!other.exists(), "{said}");
    for part in [
        "cannot be opened anew: Permission denied",
        "--keep-net-raw",
        "deleted while it was watched",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn root_becomes_the_user_named_or_the_one_who_called_sudo() {
    let is_root = fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.contains("4294967295"))
        && fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    inside_by("inside_root_becomes", &["-n", "--kill-child"]);
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_root_becomes() {
    assert!(std::env::var_os(INSIDE).is_some(), "not inside");
    let dir = tempfile::tempdir().unwrap();
    let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(dir.path(), open_to_all).unwrap();
    let out = dir.path().join("log");
    let (seen, sent) = pair(0);
    let arguments = [
        "-i",
        &seen,
        "--buffer",
        "4",
        "--format",
        "eve",
        "-o",
        out.to_str().unwrap(),
    ];
    let by_sudo = Watching::start_with(&arguments, &[("SUDO_UID", "65534"), ("SUDO_GID", "65533")]);
    wait_until_confined(by_sudo.0.id(), "0000000000000000");
    let ids = |pid, key| statuses(pid, key).pop_first().unwrap();
    assert_eq!(ids(by_sudo.0.id(), "Uid"), "65534\t65534\t65534\t65534");
    assert_eq!(ids(by_sudo.0.id(), "Gid"), "65533\t65533\t65533\t65533");
    let said = by_sudo.end().1;
    assert!(!said.contains("not confined"), "{said}");
    let strict = Watching::start(&[&arguments[..], &["--user", "nobody", "--sandbox", "strict"]].concat());
    wait_until_confined(strict.0.id(), "0000000000000000");
    assert_eq!(ids(strict.0.id(), "Uid"), "65534\t65534\t65534\t65534");
    // The log is that user's, and can be made anew after a rotation.
    fs::rename(&out, dir.path().join("log.1")).unwrap();
    strict.signal("HUP");
    wait_until("the log is opened anew", || out.exists());
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(&out).unwrap()), 65534);
    replay(&trace("dns-bogon-in-path"), &sent);
    wait_until("a finding is told", || {
        fs::read_to_string(&out).unwrap().contains("dns_injection")
    });
    assert_eq!(strict.end().0, Some(0));
    // Root with nobody to become is told, and with strict it is an error.
    let output = blockscope()
        .args(["watch", "-i", &seen, "--sandbox", "strict", "--for", "1"])
        .env_remove("SUDO_UID")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("--user NAME"), "{said}");
}

#[test]
fn lists_of_fingerprints_are_read_anew_on_a_signal() {
    inside("inside_lists_are_read_anew");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_lists_are_read_anew() {
    assert!(std::env::var_os(INSIDE).is_some(), "not inside");
    let dir = tempfile::tempdir().unwrap();
    let (out, list) = (dir.path().join("log"), dir.path().join("own.toml"));
    let row = |id: &str, pattern: &str| {
        format!(
            "[[row]]\nid = \"{id}\"\nkind = \"http_location\"\npattern = \"{pattern}\"\nmatch = \"prefix\"\n\
             scope = \"national\"\nconfidence = 9\nsource = \"a test\"\ndate = \"2024\"\nnote = \"A test.\"\n"
        )
    };
    fs::write(&list, row("one", "http://elsewhere.example")).unwrap();
    let (seen, sent) = pair(0);
    let arguments = [
        "-i",
        &seen,
        "--buffer",
        "4",
        "--format",
        "eve",
        "-o",
        out.to_str().unwrap(),
    ];
    let watching = Watching::start(&[&arguments[..], &["--fingerprints", list.to_str().unwrap(), "-v"]].concat());
    wait_until_confined(watching.0.id(), "0000000000000000");
    // A list that is none changes nothing; what comes after it does.
    fs::write(&list, "[[row]]\nnonsense").unwrap();
    watching.signal("HUP");
    wait_until("it was read", || watching.said().contains("stay as they were"));
    fs::write(&list, row("two", "http://warning.example")).unwrap();
    watching.signal("HUP");
    wait_until("it was read", || watching.said().contains("were read anew"));
    // Facts are learnt at the next tick.
    watching.signal("USR1");
    wait_until("a tick later", || watching.said().contains("Inspected "));
    replay(&trace("redirect-on-path-race"), &sent);
    wait_until("a finding is told", || {
        fs::read_to_string(&out).unwrap().contains("\"file\":\"own.toml\"")
    });
    let (status, said) = watching.end();
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn without_the_capability_the_error_says_how_to_give_it() {
    // A user namespace of one's own has no say over this network.
    let output = Command::new("unshare")
        .args(["-U", assert_cmd::cargo::cargo_bin!("blockscope").to_str().unwrap()])
        .args(["watch", "-i", "lo", "--for", "1"])
        .output();
    let Some(output) = output.ok().filter(|output| output.status.code() == Some(3)) else {
        eprintln!("skipped: no user namespace can be made here");
        return;
    };
    let said = String::from_utf8(output.stderr).unwrap();
    if said.contains("libpcap is not installed") {
        eprintln!("skipped: libpcap is not installed");
        return;
    }
    assert!(said.contains("sudo setcap cap_net_raw+ep /"), "{said}");
}

#[test]
fn an_interface_that_does_not_exist_is_told() {
    let output = blockscope()
        .args(["watch", "-i", "nosuch0", "--for", "1"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("nosuch0") && !said.contains("panicked"), "{said}");
}
