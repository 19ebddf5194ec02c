//! `blockscope doctor`: what it says of interfaces made for it, in a network namespace.

mod netns;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use netns::{assert_inside, blockscope, frames, inside, ip, pair, send, sockets, trace, wait_until};
use serde_json::Value;

/// What the doctor says, by what it looked at, and how it ended.
fn doctor(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = blockscope()
        .args(["doctor", "--format", "json", "--buffer", "4"])
        .args(arguments)
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let checks = told["checks"].as_array().unwrap();
    let by_name = checks
        .iter()
        .map(|check| (check["what"].as_str().unwrap().to_owned(), check.clone()));
    (output.status.code(), by_name.collect::<serde_json::Map<_, _>>().into())
}

/// What the doctor says of an interface on which `shown` comes while it looks.
fn doctor_shown(shown: &[Vec<u8>], seen: &str, sent: &str) -> Value {
    let before = sockets();
    let (_, checks) = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_until("the doctor looks", || sockets() > before);
            send(shown, sent);
        });
        doctor(&["-i", seen, "--for", "4"])
    });
    checks
}

#[test]
fn an_interface_is_looked_at_from_all_sides() {
    inside("inside_an_interface");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_an_interface() {
    assert_inside();
    let (seen, sent) = pair(0);
    let (status, checks) = doctor(&["-i", &seen, "--for", "1"]);
    assert_eq!(status, Some(1), "{checks:#}");
    assert_eq!(checks["permission"]["state"], "good", "{checks:#}");
    assert_eq!(checks["interface"]["state"], "good");
    assert_eq!(checks["packets"]["state"], "problem", "none came: {checks:#}");
    assert_eq!(checks["directions"]["state"], "unknown", "no flow came: {checks:#}");
    let clock = checks["clock"]["state"].as_str().unwrap();
    assert!(["good", "notice"].contains(&clock), "{checks:#}");
    assert!(checks["bypass_tools"]["says"].is_string());
    // A virtual interface splits nothing itself.
    assert_eq!(checks["offloads"]["state"], "notice", "{checks:#}");
    let advice = checks["offloads"]["do"].as_str().unwrap();
    assert!(
        advice.starts_with(&format!("ethtool -K {seen} ")) && advice.contains("tso off"),
        "{advice}"
    );
    // What it says is to be done helps.
    let mut words = advice.split(' ');
    let ethtool = Command::new(words.next().unwrap()).args(words).output();
    let helps = ethtool.is_ok_and(|output| output.status.success());

    let healthy = frames(&trace("ipv6-rst"));
    let checks = doctor_shown(&healthy, &seen, &sent);
    assert_eq!(checks["offloads"]["state"], if helps { "good" } else { "notice" });
    for what in ["packets", "drops", "duplicates", "directions", "merged"] {
        assert_eq!(checks[what]["state"], "good", "{what}: {checks:#}");
        assert!(checks[what].get("do").is_none(), "{what}: {checks:#}");
    }
    let says = |checks: &Value, what: &str| checks[what]["says"].as_str().unwrap().to_owned();
    assert!(says(&checks, "packets").starts_with(&format!("{} packets in 4 s", healthy.len())));
    assert!(
        says(&checks, "directions").starts_with("0 of 8 TCP flows"),
        "{checks:#}"
    );

    // One direction of each flow, every packet twice, and one that no link carries as such.
    let mut sick: Vec<Vec<u8>> = Vec::new();
    for frame in frames(&trace("benign-one-sided-tap")) {
        sick.extend([frame.clone(), frame]);
    }
    let mut long = sick[0].clone();
    long.resize(2000, 0);
    sick.push(long);
    let checks = doctor_shown(&sick, &seen, &sent);
    for (what, state, part) in [
        ("packets", "good", "packets in 4 s"),
        ("drops", "good", "none"),
        ("duplicates", "notice", "came twice"),
        ("directions", "problem", "6 of 6 TCP flows"),
        ("merged", "notice", "1 packet longer"),
    ] {
        assert_eq!(checks[what]["state"], state, "{what}: {checks:#}");
        assert!(says(&checks, what).contains(part), "{what}: {checks:#}");
        assert_eq!(checks[what].get("do").is_some(), state != "good", "{what}: {checks:#}");
    }

    ip(&format!("link set {seen} down"));
    let (status, checks) = doctor(&["-i", &seen, "--for", "1"]);
    assert_eq!(
        (status, &checks["interface"]["state"]),
        (Some(1), &Value::from("problem"))
    );
    assert_eq!(checks["interface"]["do"], format!("ip link set {seen} up"));
}

#[test]
fn a_bypass_tool_is_named_with_its_process() {
    inside("inside_a_bypass_tool");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_a_bypass_tool() {
    assert_inside();
    let dir = tempfile::tempdir().unwrap();
    let tool = dir.path().join("nfqws");
    fs::write(&tool, "#!/bin/sh\nread forever\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let mut running = Command::new(&tool).stdin(Stdio::piped()).spawn().unwrap();
    let (seen, _sent) = pair(0);
    let (status, checks) = doctor(&["-i", &seen, "--for", "1"]);
    let pid = running.id();
    drop(running.stdin.take());
    running.wait().unwrap();
    assert_eq!(status, Some(1));
    let says = checks["bypass_tools"]["says"].as_str().unwrap();
    assert!(says.contains(&format!("nfqws (zapret), process {pid}")), "{says}");
}

#[test]
fn an_interface_that_is_not_there_is_told() {
    let output = blockscope().args(["doctor", "-i", "nosuch0"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("nosuch0"), "{said}");
}
