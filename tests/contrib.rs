//! The files in contrib/, by the tools they are for where these are at hand.

#![cfg(target_os = "linux")]

mod netns;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use netns::{assert_inside, findings, frames, get, inside_by, ip, pair, replay, trace, wait_until};

#[test]
fn systemd_accepts_the_unit() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/blockscope-watch@.service");
    let dir = tempfile::tempdir().unwrap();
    // The program need not be installed to say whether the rest makes sense.
    let copy = dir.path().join("blockscope-watch@.service");
    let program = assert_cmd::cargo::cargo_bin!("blockscope");
    let text = fs::read_to_string(unit).unwrap();
    fs::write(&copy, text.replace("/usr/bin/blockscope", program.to_str().unwrap())).unwrap();
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze")
            .args(arguments)
            .arg(&copy)
            .output()
            .ok()?;
        let said = [output.stdout, output.stderr].concat();
        Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
    };
    let Some((accepted, said)) = analyze(&["verify", "--man=no"]) else {
        eprintln!("skipped: systemd-analyze is not installed");
        return;
    };
    assert!(accepted, "{said}");
    // Units of the machine itself may be complained of.
    assert!(!said.contains("blockscope-watch@"), "{said}");
    // 0 is nothing exposed, 10 everything.
    match analyze(&["security", "--offline=true", "--threshold=25"]) {
        Some((true, _)) => {}
        Some((false, said)) if said.contains("unrecognized option") => eprintln!("skipped: systemd-analyze is old"),
        Some((false, said)) => panic!("{said}"),
        None => unreachable!("it was there before"),
    }
}

/// The lines of the unit, those that go on in the next put together.
fn unit() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/blockscope-watch@.service");
    let text = fs::read_to_string(path).unwrap().replace("\\\n", " ");
    text.lines().map(str::to_owned).collect()
}

/// The system calls a set of systemd's holds, or the one of that name.
fn calls(name: &str) -> BTreeSet<String> {
    if !name.starts_with('@') {
        return BTreeSet::from([name.to_owned()]);
    }
    let output = Command::new("systemd-analyze")
        .args(["syscall-filter", name])
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}");
    let text = String::from_utf8(output.stdout).unwrap();
    let members = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    members
        .filter(|line| !line.is_empty() && *line != name)
        .flat_map(calls)
        .collect()
}

/// The unit's filter of system calls, as systemd makes it.
fn filter() -> seccompiler::BpfProgram {
    let mut allowed = BTreeSet::new();
    for line in unit() {
        let Some(list) = line.strip_prefix("SystemCallFilter=") else {
            continue;
        };
        let denied = list.strip_prefix('~');
        for name in denied.unwrap_or(list).split(' ') {
            let calls = calls(name);
            match denied {
                Some(_) => allowed.retain(|call| !calls.contains(call)),
                None => allowed.extend(calls),
            }
        }
    }
    let arch: seccompiler::TargetArch = std::env::consts::ARCH.try_into().unwrap();
    loop {
        let list: Vec<_> = allowed
            .iter()
            .map(|call| serde_json::json!({ "syscall": call }))
            .collect();
        let json = serde_json::json!({
            "unit": { "mismatch_action": { "errno": 1 }, "match_action": "allow", "filter": list }
        });
        match seccompiler::compile_from_json(json.to_string().as_bytes(), arch) {
            Ok(mut programs) => return programs.remove("unit").unwrap(),
            // systemd knows the calls of all architectures; the one that is of another is named.
            Err(seccompiler::Error::JsonFrontend(error)) => {
                let told = error.to_string();
                let other = told.split_whitespace().find(|word| allowed.contains(*word));
                let other = other.unwrap_or_else(|| panic!("{told}"));
                allowed.remove(other);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Where the command line of the watch is kept for the process that becomes it.
const WATCH: &str = "BLOCKSCOPE_TEST_WATCH";

#[test]
fn the_unit_lets_a_watch_do_its_work() {
    for (program, argument) in [("systemd-analyze", "--version"), ("setpriv", "--version")] {
        if Command::new(program).arg(argument).output().is_err() {
            eprintln!("skipped: {program} is not installed");
            return;
        }
    }
    // As somebody who is not root, but may make interfaces.
    let somebody = [
        "-Un",
        "--map-user=1000",
        "--map-group=1000",
        "--keep-caps",
        "--kill-child",
    ];
    inside_by("inside_the_unit", &somebody);
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_the_unit() {
    assert_inside();
    ip("link set lo up");
    let dir = tempfile::tempdir().unwrap();
    let (seen, sent) = pair(0);
    let metrics = "127.0.0.1:9464";
    let unit = unit();
    let start = unit.iter().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let start = start
        .replace(
            "/usr/bin/blockscope",
            assert_cmd::cargo::cargo_bin!("blockscope").to_str().unwrap(),
        )
        .replace("/var/log/blockscope", dir.path().to_str().unwrap())
        .replace("${METRICS}", metrics)
        .replace("$OPTIONS", "--sandbox strict --threads 2 --buffer 4")
        .replace("%I", &seen)
        .replace("%i", &seen);
    for line in [
        "AmbientCapabilities=CAP_NET_RAW",
        "CapabilityBoundingSet=CAP_NET_RAW",
        "NoNewPrivileges=yes",
    ] {
        assert!(unit.iter().any(|told| told == line), "{line}");
    }
    let said = tempfile::NamedTempFile::new().unwrap();
    let mut watch = Command::new("setpriv")
        .args([
            "--no-new-privs",
            "--bounding-set",
            "-all,+net_raw",
            "--inh-caps",
            "-all,+net_raw",
        ])
        .args(["--ambient-caps", "-all,+net_raw"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "inside_the_filter",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(WATCH, start)
        .stderr(said.reopen().unwrap())
        .spawn()
        .unwrap();
    let heard = || fs::read_to_string(said.path()).unwrap();
    wait_until("it is ready", || {
        assert!(watch.try_wait().unwrap().is_none(), "{}", heard());
        get(metrics, "/readyz").starts_with("HTTP/1.1 200")
    });
    let log = dir.path().join(format!("{seen}.json"));
    fs::rename(&log, dir.path().join("rotated")).unwrap();
    let signal = |name: &str| {
        let status = Command::new("kill").args([name, &watch.id().to_string()]).status();
        assert!(status.unwrap().success());
    };
    signal("-HUP");
    wait_until("the log is opened anew", || log.exists());
    replay(&trace("dns-bogon-in-path"), &sent);
    wait_until("a finding is told", || {
        fs::read_to_string(&log).unwrap().contains("dns_injection")
    });
    signal("-INT");
    assert_eq!(watch.wait().unwrap().code(), Some(0), "{}", heard());
    assert!(!findings(&fs::read_to_string(&log).unwrap()).is_empty());
    assert!(!heard().contains("not confined"), "{}", heard());
    let kept = fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.path());
    let kept: BTreeMap<_, _> = kept
        .filter(|path| path.extension().is_some_and(|extension| extension == "pcapng"))
        .map(|path| (path.clone(), frames(&path).len()))
        .collect();
    assert!(kept.len() == 1 && kept.values().all(|frames| *frames > 0), "{kept:?}");
}

#[test]
#[ignore = "becomes the watch"]
fn inside_the_filter() {
    assert_inside();
    let watch = std::env::var(WATCH).unwrap();
    let mut arguments = watch.split_whitespace();
    let mut command = Command::new(arguments.next().unwrap());
    command.args(arguments);
    seccompiler::apply_filter(&filter()).unwrap();
    panic!("{}", command.exec());
}
