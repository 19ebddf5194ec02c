//! What goes wrong while one watches: each is survived, or ends with an error that says what.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::link::{self, Watch};
use crate::mix::{Place, blockscope};
use crate::process::{PATIENCE, Running, wait_until};
use crate::told;

/// Frames sent while the log is rotated, and how often it is.
const UNDER_LOAD: u64 = 20_000;
const ROTATIONS: usize = 10;

/// Captures whose findings are told while the watch runs.
const TOLD_AT_ONCE: [&str; 6] = [
    "gfw-rst-triple-stepped",
    "dns-nxdomain-race",
    "tls-alert-injection",
    "gfw-dns-triplet",
    "henan-rst-payload",
    "sandvine-rst-pair",
];

/// Runs them one after the other.
pub(crate) fn run() -> Result<(), String> {
    let place = Place::new("faults")?;
    link::make()?;
    port_taken()?;
    disk_full(place.path())?;
    reader_gone(place.path())?;
    rotated_under_load(place.path())?;
    down_under_load(place.path())
}

/// A capture in which something is found.
fn blocked(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
        .join("trace.pcap")
}

fn send(dir: &Path, capture: &Path, rate: u64) -> Result<(), String> {
    let mut sending = Running::start("flood", dir, &mut link::flood(capture, rate)?)?;
    if sending.wait(PATIENCE)?.success() {
        Ok(())
    } else {
        Err(sending.said())
    }
}

fn port_taken() -> Result<(), String> {
    let taken = TcpListener::bind(link::METRICS).map_err(|error| error.to_string())?;
    let output = Command::new(blockscope())
        .args(["watch", "-i", "seen0", "--for", "5", "--metrics", link::METRICS])
        .output()
        .map_err(|error| error.to_string())?;
    drop(taken);
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() != Some(3) || !said.contains(link::METRICS) {
        return Err(format!("a metrics port that is taken: {}: {said}", output.status));
    }
    println!("testbed: a metrics port that is taken is refused by name");
    Ok(())
}

/// The log lies on a disk of one page.
fn disk_full(dir: &Path) -> Result<(), String> {
    let disk = dir.join("disk");
    fs::create_dir_all(&disk).map_err(|error| error.to_string())?;
    link::shell(&format!("mount -t tmpfs -o size=4k tmpfs {}", disk.display()))?;
    let mut watch = Watch::start(dir, "disk-full", &disk.join("log"), 16)?;
    for name in ["gfw-rst-triple-stepped", "kz-isca-2020"] {
        send(dir, &blocked(name), 0)?;
    }
    // Whether it has ended by itself or does so when told to: it must say why it has not written all.
    let _ = watch.process.signal("INT");
    let status = watch.process.wait(PATIENCE)?;
    let said = watch.process.said();
    let kept = fs::metadata(disk.join("log")).map(|file| file.len()).unwrap_or(0);
    link::shell(&format!("umount {}", disk.display()))?;
    if status.code() != Some(3) || !said.contains("cannot be written") || kept == 0 {
        return Err(format!("a full disk: {status}, {kept} bytes kept: {said}"));
    }
    println!("testbed: a full disk ends the watch with an error; {kept} bytes were kept");
    Ok(())
}

/// Waits for something that need not be.
fn wait_briefly(mut is_so: impl FnMut() -> bool) -> bool {
    (0..40).any(|_| {
        thread::sleep(Duration::from_millis(100));
        is_so()
    })
}

/// Whoever reads its output leaves after the first line.
fn reader_gone(dir: &Path) -> Result<(), String> {
    let before = link::captures();
    let script = format!(
        "{{ {} watch -i seen0 --format eve; echo \"status $?\" >&2; }} | head -n 1 >/dev/null",
        blockscope().display()
    );
    let mut watch = Running::start("reader-gone", dir, Command::new("sh").args(["-c", &script]))?;
    wait_until("watch captures", || link::captures() > before)?;
    // The finding after the one that was read is the one that cannot be written; the same is never told twice.
    for name in TOLD_AT_ONCE {
        send(dir, &blocked(name), 2000)?;
        let _ = wait_briefly(|| watch.said().contains("status"));
    }
    if !watch.said().contains("status") {
        return Err(format!("it goes on for nobody: {}", watch.said()));
    }
    watch.wait(PATIENCE)?;
    if !watch.said().contains("status 0") {
        return Err(format!("a reader that left: {}", watch.said()));
    }
    println!("testbed: a reader that leaves ends the watch, and that is no error");
    Ok(())
}

/// The interface goes down and comes back while packets arrive: what comes afterwards is seen, and what was found before
/// is kept.
fn down_under_load(dir: &Path) -> Result<(), String> {
    let log = dir.join("down.json");
    let mut watch = Watch::start(dir, "down", &log, 64)?;
    let passed_before = link::passed_and_dropped()?.0;
    let kinds = |kind: &str| told::read(&log).map(|told| told.iter().filter(|told| told.kind == kind).count());
    send(dir, &blocked("gfw-rst-triple-stepped"), 2000)?;
    wait_until("a finding is told", || {
        kinds("rst_injection").is_ok_and(|told| told > 0)
    })?;
    let resets = kinds("rst_injection")?;
    let traffic = link::background(dir, "down.pcap", UNDER_LOAD, 11)?;
    let mut sending = Running::start("flood", dir, &mut link::flood(&traffic, UNDER_LOAD / 8)?)?;
    thread::sleep(Duration::from_secs(2));
    link::shell("ip link set seen0 down")?;
    wait_until("that is told", || watch.process.said().contains("went down"))?;
    link::shell("ip link set seen0 up")?;
    wait_until("that is told", || watch.process.said().contains("is up again"))?;
    if !sending.wait(PATIENCE)?.success() {
        return Err(sending.said());
    }
    send(dir, &blocked("dns-nxdomain-race"), 2000)?;
    wait_until("a finding is told", || {
        kinds("dns_injection").is_ok_and(|told| told > 0)
    })?;
    watch.process.signal("INT")?;
    let status = watch.process.wait(PATIENCE)?;
    if status.code() != Some(0) {
        return Err(format!(
            "an interface that goes down: {status}: {}",
            watch.process.said()
        ));
    }
    let told = told::read(&log)?;
    let others = told.len() - kinds("rst_injection")? - kinds("dns_injection")?;
    if others > 0 || kinds("rst_injection")? < resets {
        return Err(format!("an interface that goes down: {told:?}"));
    }
    let (taken, lost) = link::taken_and_lost(&log)?;
    let passed = link::passed_and_dropped()?.0 - passed_before;
    if taken + lost != passed {
        return Err(format!(
            "an interface that goes down: {taken} taken in, {lost} lost, {passed} sent"
        ));
    }
    println!("testbed: an interface went down and up under load: {taken} taken in, {lost} lost, findings kept");
    Ok(())
}

/// The log is moved away and opened anew again and again while packets arrive: none is lost, no line is torn.
fn rotated_under_load(dir: &Path) -> Result<(), String> {
    let log = dir.join("rotated.json");
    let mut watch = Watch::start(dir, "rotated", &log, 64)?;
    let traffic = link::background(dir, "rotated.pcap", UNDER_LOAD, 9)?;
    let mut sending = Running::start("flood", dir, &mut link::flood(&traffic, UNDER_LOAD / 4)?)?;
    for turn in 0..ROTATIONS {
        fs::rename(&log, dir.join(format!("rotated.json.{turn}"))).map_err(|error| error.to_string())?;
        watch.process.signal("HUP")?;
        wait_until("the log is opened anew", || log.exists())?;
    }
    if !sending.wait(PATIENCE)?.success() {
        return Err(sending.said());
    }
    send(dir, &blocked("gfw-rst-triple-stepped"), 2000)?;
    wait_until("a finding is told", || {
        told::read(&log).is_ok_and(|told| told.iter().any(|told| told.kind == "rst_injection"))
    })?;
    watch.process.signal("INT")?;
    let status = watch.process.wait(PATIENCE)?;
    if status.code() != Some(0) {
        return Err(format!("a log that is rotated: {status}: {}", watch.process.said()));
    }
    for turn in 0..ROTATIONS {
        told::read(&dir.join(format!("rotated.json.{turn}")))?;
    }
    let (taken, lost) = link::taken_and_lost(&log)?;
    if lost > 0 || taken < UNDER_LOAD {
        return Err(format!("a log that is rotated: {taken} taken in, {lost} lost"));
    }
    println!("testbed: a log rotated {ROTATIONS} times under load: {taken} taken in, none lost, no line torn");
    Ok(())
}
