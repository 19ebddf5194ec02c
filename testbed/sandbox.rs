//! Namespaces of the run's own: a network that touches no other, and process ids, so that whatever it started ends with
//! it, however it ends.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::mix::blockscope;

const INSIDE: &str = "BLOCKSCOPE_TESTBED_INSIDE";

/// What the testbed calls, and Debian's package that holds it.
const PROGRAMS: [(&str, &str); 11] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("nginx", "nginx-light"),
    ("unbound", "unbound"),
    ("dnsmasq", "dnsmasq-base"),
    ("curl", "curl"),
    ("dig", "bind9-dnsutils"),
    ("openssl", "openssl"),
    ("python3", "python3"),
];

/// Whether this process already has namespaces of its own.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this program again inside, or says why that is impossible.
pub(crate) fn enter(arguments: &[String]) -> ExitCode {
    for (program, package) in PROGRAMS {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .env("PATH", path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !found {
            eprintln!("testbed: skipped: {program} is not installed (Debian: {package})");
            return ExitCode::SUCCESS;
        }
    }
    let libpcap = Command::new(blockscope()).arg("interfaces").output();
    if !libpcap.is_ok_and(|output| output.status.success()) {
        eprintln!("testbed: skipped: libpcap is not installed (Debian: libpcap0.8)");
        return ExitCode::SUCCESS;
    }
    if !Path::new("/proc/sys/net/ipv6").exists() {
        eprintln!("testbed: skipped: this kernel has no IPv6");
        return ExitCode::SUCCESS;
    }
    let possible = unshare()
        .args(["sh", "-c", "ip link add t0 type veth peer name t1"])
        .output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("testbed: skipped: no network namespace with virtual interfaces can be made here");
        return ExitCode::SUCCESS;
    }
    let Ok(own) = std::env::current_exe() else {
        eprintln!("testbed: skipped: this program does not know where it lies");
        return ExitCode::SUCCESS;
    };
    let status = unshare().arg(own).args(arguments).env(INSIDE, "1").status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("testbed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// With a user namespace nobody needs to be root; whoever is gets no more than others, so that both see the same.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["-Urnmp", "--fork", "--kill-child", "--mount-proc"])
        .env("PATH", path());
    command
}

/// Servers are installed where only root usually looks.
fn path() -> String {
    format!(
        "{}:/usr/local/sbin:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    )
}
