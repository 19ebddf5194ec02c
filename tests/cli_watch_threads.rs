//! `blockscope watch --threads N` on a real interface: each thread reads a socket of its own, and what they tell together
//! is what one tells.

mod netns;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use blockscope::capture::capture_set::CaptureSet;
use blockscope::capture::source::{RecordBatch, Source, Supply};
use blockscope::fixture::reading::{Manner, read_file};
use etherparse::PacketBuilder;
use netns::{Watching, assert_inside, frames, get, inside, ip, pair, replay, send, sockets, trace, wait_until};
use serde_json::Value;

/// Captures with resets, an ICMP error of a third about a flow, IPv6 and DNS; and one that is sent with VLAN tags.
const REPLAYED: [&str; 4] = [
    "dns-nxdomain-race",
    "icmp-prohibited-after-sni",
    "ipv6-rst",
    "tm-dns-and-rst",
];
const TAGGED: &str = "fin-injection";

/// The highest verdict told of each kind and name.
fn told(eve: &str) -> BTreeMap<(String, String), usize> {
    const VERDICTS: [&str; 3] = ["possible", "likely", "confirmed"];
    let mut told = BTreeMap::new();
    for line in eve.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        if record["event_type"] != "block" {
            continue;
        }
        let block = &record["block"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let verdict = VERDICTS
            .iter()
            .position(|verdict| block["verdict"] == *verdict)
            .unwrap();
        let best = told
            .entry((text(&block["kind"]), text(&block["trigger"]["value"])))
            .or_insert(verdict);
        *best = verdict.max(*best);
    }
    told
}

/// What the last record says of packets taken in and lost by the kernel.
fn counted(log: &Path) -> (u64, u64) {
    let text = fs::read_to_string(log).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let file = &last["stats"]["files"][0];
    (
        file["frames"].as_u64().unwrap(),
        file["lost"]["kernel"].as_u64().unwrap(),
    )
}

/// The frames of a capture with a tag each, one after the other at their pace.
fn replay_tagged(capture: &Path, interface: &str) -> u64 {
    let mut sent = 0;
    let mut before: Option<blockscope::time::Timestamp> = None;
    let mut source = CaptureSet::open(&[capture.to_owned()]);
    let mut batch = RecordBatch::default();
    while source.supply(&mut batch).unwrap() == Supply::Records {
        for record in &batch.records {
            thread::sleep(before.map_or(Duration::ZERO, |before| record.at.since(before)));
            before = Some(record.at);
            let bytes = batch.frame(record).bytes;
            let tagged = [&bytes[..12], &[0x81, 0, 0, 42], &bytes[12..]].concat();
            send(&[tagged], interface);
            sent += 1;
        }
    }
    sent
}

#[test]
fn several_threads_tell_what_one_tells() {
    inside("inside_several_threads");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_several_threads() {
    assert_inside();
    ip("link set lo up");
    let dir = tempfile::tempdir().unwrap();
    let (seen, sent) = pair(0);
    let kept = dir.path().join("kept.pcapng");
    let watches: Vec<_> = (0..)
        .zip([1, 2, 3])
        .map(|(index, threads)| {
            let log = dir.path().join(format!("log{threads}"));
            let (threads, metrics) = (threads.to_string(), format!("127.0.0.1:{}", 9464 + index));
            let mut arguments = vec!["-i", &seen, "--format", "eve", "--threads", &threads];
            arguments.extend(["--metrics", &metrics, "-o", log.to_str().unwrap()]);
            if threads == "3" {
                arguments.extend(["-w", kept.to_str().unwrap()]);
            }
            let watching = Watching::start(&arguments);
            wait_until("it is ready", || get(&metrics, "/readyz").starts_with("HTTP/1.1 200"));
            // All who want one have a socket; what comes before that is nobody's.
            thread::sleep(Duration::from_millis(50));
            (watching, log)
        })
        .collect();
    assert_eq!(sockets(), 6);
    let mut sent_all = thread::scope(|scope| {
        for name in REPLAYED {
            let sent = &sent;
            scope.spawn(move || replay(&trace(name), sent));
        }
        replay_tagged(&trace(TAGGED), &sent)
    });
    sent_all += REPLAYED
        .map(|name| frames(&trace(name)).len() as u64)
        .iter()
        .sum::<u64>();
    let mut all = Vec::new();
    for (watching, log) in watches {
        let (status, said) = watching.end();
        assert_eq!(status, Some(0), "{said}");
        assert_eq!(counted(&log), (sent_all, 0), "{said}");
        all.push(told(&fs::read_to_string(&log).unwrap()));
    }
    let kinds = |kind: &str| all[0].keys().filter(|(told, _)| told == kind).count();
    for kind in ["dns_injection", "icmp_prohibited", "rst_injection", "fin_injection"] {
        assert!(kinds(kind) > 0, "{kind}: {:#?}", all[0]);
    }
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
    // What several wrote is in order, and tells the same.
    let mut source = CaptureSet::open(std::slice::from_ref(&kept));
    let (mut batch, mut times) = (RecordBatch::default(), Vec::new());
    while source.supply(&mut batch).unwrap() == Supply::Records {
        times.extend(batch.records.iter().map(|record| record.at));
    }
    assert!(times.len() > 100 && times.is_sorted());
    assert_eq!(told(&read_file(&kept, Manner::default()).unwrap()), all[0]);
}

#[test]
fn several_sockets_count_all_they_lose() {
    inside("inside_several_sockets_lose");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_several_sockets_lose() {
    const SENT: usize = 8000;
    assert_inside();
    ip("link set lo up");
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let (seen, sent) = pair(0);
    let metrics = "127.0.0.1:9464";
    let mut arguments = vec!["-i", &seen, "--buffer", "2", "--format", "eve", "--threads", "2"];
    arguments.extend(["--metrics", metrics, "-o", log.to_str().unwrap()]);
    let watching = Watching::start(&arguments);
    wait_until("it is ready", || get(metrics, "/readyz").starts_with("HTTP/1.1 200"));
    thread::sleep(Duration::from_millis(50));
    let noise: Vec<Vec<u8>> = (0..SENT)
        .map(|index| {
            let mut frame = Vec::new();
            let client = [10, 1, (index / 200 % 200) as u8, (index % 200) as u8];
            PacketBuilder::ethernet2([2; 6], [4; 6])
                .ipv4(client, [198, 51, 100, 7], 64)
                .udp(40_000, 9)
                .write(&mut frame, &[0; 1000])
                .unwrap();
            frame
        })
        .collect();
    watching.signal("STOP");
    send(&noise, &sent);
    watching.signal("CONT");
    let (status, said) = watching.end();
    assert_eq!(status, Some(0), "{said}");
    let (taken, lost) = counted(&log);
    assert_eq!(taken + lost, SENT as u64, "{said}");
    assert!(taken > 1000 && lost > 1000, "{taken} {lost}");
    assert!(told(&fs::read_to_string(&log).unwrap()).is_empty());
}

#[test]
fn several_sockets_survive_an_interface_that_goes() {
    inside("inside_an_interface_goes");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_an_interface_goes() {
    assert_inside();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let (seen, sent) = pair(0);
    let mut arguments = vec!["-i", &seen, "--buffer", "4", "--format", "eve", "--threads", "3"];
    arguments.extend(["-o", log.to_str().unwrap()]);
    let keeping = Watching::start(&[&arguments[..], &["--keep-net-raw"]].concat());
    wait_until("all have a socket", || sockets() == 3);
    ip(&format!("link set {seen} down"));
    wait_until("that is told", || keeping.said().contains("went down"));
    ip(&format!("link set {seen} up"));
    wait_until("that is told", || keeping.said().contains("is up again"));
    ip(&format!("link del {seen}"));
    wait_until("all sockets are closed", || sockets() == 0);
    let (seen_again, _) = pair(0);
    assert_eq!(seen_again, seen);
    wait_until("all have a socket again", || sockets() == 3);
    thread::sleep(Duration::from_millis(50));
    let capture = trace("dns-bogon-in-path");
    replay(&capture, &sent);
    wait_until("a finding is told", || {
        fs::read_to_string(&log).unwrap().contains("dns_injection")
    });
    let (status, said) = keeping.end();
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(counted(&log).0, frames(&capture).len() as u64, "{said}");
    // One of the three speaks.
    for part in ["went down", "is up again", "cannot be read any more", "is back"] {
        assert_eq!(said.matches(part).count(), 1, "{part}: {said}");
    }
    let ending = Watching::start(&arguments);
    wait_until("all have a socket", || sockets() == 3);
    ip(&format!("link del {seen}"));
    let (status, said) = ending.wait();
    assert_eq!(status, Some(3), "{said}");
    assert_eq!(said.matches("deleted while it was watched").count(), 1, "{said}");
}
