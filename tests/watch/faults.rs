//! What a watch does when things go wrong around it: every fault is survived, or ends it with a clear error, and what
//! was found until then is kept.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use blockscope::fixture::reading::{Manner, read_file};
use serde_json::Value;

use crate::netns::{
    SMALL, Stage, Watching, blockscope, findings, frames, inside, inside_by, ip, records, replay, send, sockets, trace,
    wait_until,
};

/// A file system of so many KiB at `path`.
fn small_disk(path: &Path, kib: u32) {
    let size = format!("size={kib}k");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
        .arg(path)
        .status()
        .unwrap();
    assert!(mounted.success());
}

#[test]
fn a_full_disk_ends_it_with_an_error_and_whole_records() {
    inside_by("faults::inside_a_full_disk", &["-Urnm", "--kill-child"]);
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_a_full_disk() {
    let stage = Stage::set();
    small_disk(stage.dir.path(), 8);
    let watching = stage.watch(&SMALL);
    replay(&trace("gfw-rst-triple-same-seq"), &stage.sent);
    let (status, said) = watching.wait();
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("the output cannot be written: No space left"), "{said}");
    let kept = records(&stage.log());
    assert!(!kept.is_empty() && kept.iter().all(|record| record["event_type"] == "block"));
}

#[test]
fn a_full_disk_for_packets_does_not_keep_findings_back() {
    inside_by("faults::inside_a_full_disk_for_packets", &["-Urnm", "--kill-child"]);
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_a_full_disk_for_packets() {
    let stage = Stage::set();
    let small = tempfile::tempdir().unwrap();
    small_disk(small.path(), 4);
    let kept = small.path().join("kept.pcapng");
    let watching = stage.watch(&[&SMALL[..], &["-w", kept.to_str().unwrap()]].concat());
    replay(&trace("ipv6-rst"), &stage.sent);
    let expected = findings(&read_file(&trace("ipv6-rst"), Manner::default()).unwrap());
    wait_until("all findings are told", || findings(&stage.told()) == expected);
    let (status, said) = watching.end();
    assert_eq!(status, Some(3), "{said}");
    assert_eq!(said.matches("packets of findings are lost until").count(), 1, "{said}");
    // What could be written can be read, to the end.
    let read = blockscope().args(["read", "--strict"]).arg(&kept).output().unwrap();
    assert_eq!(read.status.code(), Some(0), "{}", String::from_utf8_lossy(&read.stderr));
}

#[test]
fn a_reader_that_leaves_ends_it() {
    inside("faults::inside_a_reader_that_leaves");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_a_reader_that_leaves() {
    let stage = Stage::set();
    let mut watching = Watching::start_to(&["-i", &stage.seen, "--buffer", "4"], Stdio::piped());
    drop(watching.take_stdout());
    replay(&trace("dns-bogon-in-path"), &stage.sent);
    let (status, said) = watching.wait();
    assert_eq!(status, Some(0), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    inside("faults::inside_a_second_signal");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_a_second_signal() {
    let stage = Stage::set();
    let arguments = ["-i", &stage.seen, "--buffer", "4", "--format", "eve"];
    let mut watching = Watching::start_to(&arguments, Stdio::piped());
    // Nobody reads, and a pipe holds 64 KiB: more than that, and it waits.
    let mut stdout = watching.take_stdout();
    rustix::pipe::fcntl_setpipe_size(&stdout, 4096).unwrap();
    replay(&trace("gfw-rst-triple-same-seq"), &stage.sent);
    watching.signal("INT");
    // The other signal: two of one kind may come as one.
    watching.signal("TERM");
    let (status, said) = watching.wait();
    assert_eq!(status, Some(130), "{said}");
    let mut told = String::new();
    stdout.read_to_string(&mut told).unwrap();
    assert!(told.contains("rst_injection"));
}

#[test]
fn rotating_under_load_loses_nothing() {
    inside("faults::inside_rotating_under_load");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_rotating_under_load() {
    let stage = Stage::set();
    let log = stage.log();
    let watching = stage.watch(&["--buffer", "16"]);
    let capture = trace("gfw-rst-triple-same-seq");
    let expected = records_of(&capture);
    let mut rotations = 0;
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| replay(&capture, &stage.sent));
        while !sending.is_finished() {
            if fs::rename(&log, stage.path(&format!("log.{rotations}"))).is_ok() {
                rotations += 1;
            }
            watching.signal("HUP");
            wait_until("the log is opened anew", || log.exists());
        }
    });
    watching.end_well();
    assert!(rotations > 10, "{rotations}");
    let told: Vec<Value> = fs::read_dir(stage.dir.path())
        .unwrap()
        .flat_map(|entry| records(&entry.unwrap().path()))
        .collect();
    let blocks = told.iter().filter(|record| record["event_type"] == "block").count();
    assert!(blocks >= expected, "{blocks} of {expected}");
    assert_eq!(told.len() - blocks, 1, "one summary");
}

fn records_of(capture: &Path) -> usize {
    let told = read_file(capture, Manner::default()).unwrap();
    told.lines()
        .filter(|line| line.contains("\"event_type\":\"block\""))
        .count()
}

#[test]
fn an_interface_that_goes_down_is_watched_again_without_any_privilege() {
    inside("faults::inside_an_interface_that_goes_down");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_an_interface_that_goes_down() {
    let stage = Stage::set();
    let seen = &stage.seen;
    let watching = stage.watch(&SMALL);
    ip(&format!("link set {seen} down"));
    wait_until("that is told", || watching.said().contains("went down"));
    ip(&format!("link set {seen} up"));
    wait_until("that is told", || watching.said().contains("is up again"));
    replay(&trace("dns-bogon-in-path"), &stage.sent);
    stage.wait_for_finding("dns_injection");
    watching.end_well();
}

#[test]
fn what_was_lost_is_counted_and_told_with_findings() {
    inside("faults::inside_what_was_lost");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_what_was_lost() {
    let stage = Stage::set();
    let watching = stage.watch(&["--buffer", "1"]);
    let capture = trace("ipv6-rst");
    let told = read_file(&capture, Manner::default()).unwrap();
    let first: Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    let decided = usize::try_from(first["pcap_cnt"].as_u64().unwrap()).unwrap();
    // Up to the first forged packet; then more than the ring holds, while nobody reads it; then the rest.
    let frames = frames(&capture);
    send(&frames[..decided - 1], &stage.sent);
    wait_until("they were read", || {
        watching.signal("USR1");
        watching.said().contains(&format!("Inspected {} frame", decided - 1))
    });
    watching.signal("STOP");
    let mut noise = vec![0; 1400];
    noise[12..14].copy_from_slice(&[0x88, 0xb5]);
    send(&vec![noise; 4000], &stage.sent);
    watching.signal("CONT");
    wait_until("that was noticed", || {
        watching.signal("USR1");
        watching.said().contains("lost ")
    });
    send(&frames[decided - 1..], &stage.sent);
    stage.wait_for_finding("rst_injection");
    assert_eq!(sockets(), 1);
    watching.end_well();
    let records = records(&stage.log());
    let hit = |record: &Value| record["block"]["against"].to_string().contains("\"capture_loss\"");
    assert!(records.iter().any(hit), "{records:#?}");
    let lost = &records.last().unwrap()["stats"]["files"][0]["lost"]["kernel"];
    assert!(lost.as_u64().unwrap() > 1000, "{lost}");
}
