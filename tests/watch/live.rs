//! What is told live must be what reading the capture tells; and what a watch gives up, keeps and writes.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::netns::{
    SMALL, Stage, Watching, assert_inside, blockscope, findings, frames, get, inside, inside_by, ip, pair, records,
    replay, sockets, trace, wait_until,
};
use blockscope::fixture::reading::{Manner, read_file};

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

#[test]
fn what_is_told_live_is_what_the_capture_tells() {
    inside("live::inside_what_is_told_live");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_what_is_told_live() {
    assert_inside();
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
            let said = watching.end_well();
            assert_eq!(told(), expected, "{name}: {said}");
            assert_eq!(
                records(&out).last().unwrap()["stats"]["files"][0]["lost"]["kernel"],
                0,
                "{name}"
            );
        }
    });
}

#[test]
fn a_watch_survives_an_interface_that_goes_and_a_log_that_is_rotated() {
    inside("live::inside_a_watch_survives");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_a_watch_survives() {
    let stage = Stage::set();
    let (seen, out, rotated) = (&stage.seen, stage.log(), stage.path("log.1"));
    let watching = stage.watch(&["--buffer", "4", "--keep-net-raw"]);
    // Down for longer than a look at the interfaces takes to come round; then gone; then back under the same name.
    ip(&format!("link set {seen} down"));
    thread::sleep(Duration::from_secs(3));
    ip(&format!("link set {seen} up"));
    thread::sleep(Duration::from_secs(2));
    ip(&format!("link del {seen}"));
    thread::sleep(Duration::from_secs(2));
    let (seen_again, _) = pair(0);
    assert_eq!(seen_again, *seen);
    wait_until("it captures again", || sockets() > 0);
    fs::rename(&out, &rotated).unwrap();
    watching.signal("HUP");
    wait_until("the log is opened anew", || out.exists());
    watching.signal("USR1");
    let capture = trace("dns-bogon-in-path");
    replay(&capture, &stage.sent);
    stage.wait_for_finding("dns_injection");
    let said = watching.end_well();
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
    inside("live::inside_a_watch_gives_up");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_a_watch_gives_up() {
    assert_inside();
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
    inside_by("live::inside_root_becomes", &["-n", "--kill-child"]);
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_root_becomes() {
    let stage = Stage::set();
    let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(stage.dir.path(), open_to_all).unwrap();
    let (out, arguments) = (stage.log(), stage.arguments(&SMALL));
    let by_sudo = Watching::start_with(&arguments, &[("SUDO_UID", "65534"), ("SUDO_GID", "65533")]);
    wait_until_confined(by_sudo.0.id(), "0000000000000000");
    let ids = |pid, key| statuses(pid, key).pop_first().unwrap();
    assert_eq!(ids(by_sudo.0.id(), "Uid"), "65534\t65534\t65534\t65534");
    assert_eq!(ids(by_sudo.0.id(), "Gid"), "65533\t65533\t65533\t65533");
    let said = by_sudo.end().1;
    assert!(!said.contains("not confined"), "{said}");
    let strict = stage.watch(&[&SMALL[..], &["--user", "nobody", "--sandbox", "strict"]].concat());
    wait_until_confined(strict.0.id(), "0000000000000000");
    assert_eq!(ids(strict.0.id(), "Uid"), "65534\t65534\t65534\t65534");
    // The log is that user's, and can be made anew after a rotation.
    fs::rename(&out, stage.path("log.1")).unwrap();
    strict.signal("HUP");
    wait_until("the log is opened anew", || out.exists());
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(&out).unwrap()), 65534);
    replay(&trace("dns-bogon-in-path"), &stage.sent);
    stage.wait_for_finding("dns_injection");
    assert_eq!(strict.end().0, Some(0));
    // Root with nobody to become is told, and with strict it is an error.
    let output = blockscope()
        .args(["watch", "-i", &stage.seen, "--sandbox", "strict", "--for", "1"])
        .env_remove("SUDO_UID")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("--user NAME"), "{said}");
}

#[test]
fn lists_of_fingerprints_are_read_anew_on_a_signal() {
    inside("live::inside_lists_are_read_anew");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_lists_are_read_anew() {
    let stage = Stage::set();
    let list = stage.path("own.toml");
    let row = |id: &str, pattern: &str| {
        format!(
            "[[row]]\nid = \"{id}\"\nkind = \"http_location\"\npattern = \"{pattern}\"\nmatch = \"prefix\"\n\
             scope = \"national\"\nconfidence = 9\nsource = \"a test\"\ndate = \"2024\"\nnote = \"A test.\"\n"
        )
    };
    fs::write(&list, row("one", "http://elsewhere.example")).unwrap();
    let watching = stage.watch(&[&SMALL[..], &["--fingerprints", list.to_str().unwrap(), "-v"]].concat());
    wait_until_confined(watching.0.id(), "0000000000000000");
    // A list that is none changes nothing; what comes after it does.
    fs::write(&list, "[[row]]\nnonsense").unwrap();
    watching.signal("HUP");
    wait_until("it was read", || watching.said().contains("stay as they were"));
    let replaced = stage.path("new");
    fs::write(&replaced, row("two", "http://warning.example")).unwrap();
    fs::rename(&replaced, &list).unwrap();
    watching.signal("HUP");
    wait_until("it was read", || watching.said().contains("were read anew"));
    // Facts are learnt at the next tick.
    watching.signal("USR1");
    wait_until("a tick later", || watching.said().contains("Inspected "));
    replay(&trace("redirect-on-path-race"), &stage.sent);
    stage.wait_for_finding("\"file\":\"own.toml\"");
    watching.end_well();
}

#[test]
fn packets_of_findings_are_written_and_metrics_told() {
    inside("live::inside_packets_of_findings");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_packets_of_findings() {
    let stage = Stage::set();
    ip("link set lo up");
    let (seen, kept) = (&stage.seen, stage.path("kept.pcapng"));
    // Nobody else is in this network namespace.
    let address = "127.0.0.1:9464";
    let more = ["-p", "--immediate", "-w", kept.to_str().unwrap(), "--metrics", address];
    let arguments = stage.arguments(&[&SMALL[..], &more].concat());
    let watching = Watching::start(&arguments);
    wait_until("it is ready", || get(address, "/readyz").starts_with("HTTP/1.1 200"));
    ip(&format!("link set {seen} down"));
    wait_until("it is not ready", || {
        get(address, "/readyz").contains(&format!("{seen} is down"))
    });
    ip(&format!("link set {seen} up"));
    wait_until("it is ready again", || {
        get(address, "/readyz").starts_with("HTTP/1.1 200")
    });
    replay(&trace("benign-nxdomain"), &stage.sent);
    replay(&trace("ipv6-rst"), &stage.sent);
    let told = || findings(&stage.told());
    let expected = findings(&read_file(&trace("ipv6-rst"), Manner::default()).unwrap());
    wait_until("the findings are told", || told() == expected);
    let counted = "blockscope_findings_total{kind=\"rst_injection\",verdict=";
    wait_until("they are counted", || get(address, "/metrics").contains(counted));
    let metrics = get(address, "/metrics");
    for part in [
        "blockscope_lag_seconds ",
        "blockscope_resident_memory_bytes ",
        "blockscope_flows ",
    ] {
        assert!(metrics.contains(part), "{part}: {metrics}");
    }
    let taken = blockscope()
        .args(["watch", "-i", seen, "--metrics", address])
        .output()
        .unwrap();
    let said = String::from_utf8(taken.stderr).unwrap();
    assert_eq!(taken.status.code(), Some(3), "{said}");
    assert!(said.contains("another program listens there"), "{said}");
    let said = watching.end_well();
    // The written packets alone tell the same, and there are none of other flows.
    assert_eq!(
        findings(&read_file(&kept, Manner::default()).unwrap()),
        expected,
        "{said}"
    );
    assert!((1..=frames(&trace("ipv6-rst")).len()).contains(&frames(&kept).len()));
    // It is not overwritten by the next.
    let again = blockscope().arg("watch").args(&arguments).output().unwrap();
    assert_eq!(again.status.code(), Some(3));
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
