//! `blockscope watch --threads N` on a real interface: each thread reads a socket of its own, and what they tell together
//! is what one tells.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use blockscope::capture::capture_set::CaptureSet;
use blockscope::capture::source::{RecordBatch, Source, Supply};
use blockscope::fixture::reading::{Manner, read_file};
use etherparse::PacketBuilder;
use serde_json::Value;

use crate::netns::{Stage, Watching, frames, get, inside, ip, pair, records, replay, send, sockets, trace, wait_until};

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
    let records = records(log);
    let file = &records.last().unwrap()["stats"]["files"][0];
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
    inside("threads::inside_several_threads");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_several_threads() {
    let stage = Stage::set();
    ip("link set lo up");
    let kept = stage.path("kept.pcapng");
    let watches: Vec<_> = (0..)
        .zip([1, 2, 3])
        .map(|(index, threads)| {
            let log = stage.path(&format!("log{threads}"));
            let (threads, metrics) = (threads.to_string(), format!("127.0.0.1:{}", 9464 + index));
            let mut arguments = vec!["-i", &stage.seen, "--format", "eve", "--threads", &threads];
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
            let sent = &stage.sent;
            scope.spawn(move || replay(&trace(name), sent));
        }
        replay_tagged(&trace(TAGGED), &stage.sent)
    });
    sent_all += REPLAYED
        .map(|name| frames(&trace(name)).len() as u64)
        .iter()
        .sum::<u64>();
    let mut all = Vec::new();
    for (watching, log) in watches {
        let said = watching.end_well();
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
    inside("threads::inside_several_sockets_lose");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_several_sockets_lose() {
    const SENT: usize = 8000;
    let stage = Stage::set();
    ip("link set lo up");
    let metrics = "127.0.0.1:9464";
    let watching = stage.watch(&["--buffer", "2", "--threads", "2", "--metrics", metrics]);
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
    send(&noise, &stage.sent);
    watching.signal("CONT");
    let said = watching.end_well();
    let (taken, lost) = counted(&stage.log());
    assert_eq!(taken + lost, SENT as u64, "{said}");
    assert!(taken > 1000 && lost > 1000, "{taken} {lost}");
    assert!(told(&stage.told()).is_empty());
}

#[test]
fn several_sockets_survive_an_interface_that_goes() {
    inside("threads::inside_an_interface_goes");
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_an_interface_goes() {
    let stage = Stage::set();
    let seen = &stage.seen;
    let keeping = stage.watch(&["--buffer", "4", "--threads", "3", "--keep-net-raw"]);
    wait_until("all have a socket", || sockets() == 3);
    ip(&format!("link set {seen} down"));
    wait_until("that is told", || keeping.said().contains("went down"));
    ip(&format!("link set {seen} up"));
    wait_until("that is told", || keeping.said().contains("is up again"));
    ip(&format!("link del {seen}"));
    wait_until("all sockets are closed", || sockets() == 0);
    let (seen_again, _) = pair(0);
    assert_eq!(seen_again, *seen);
    wait_until("all have a socket again", || sockets() == 3);
    thread::sleep(Duration::from_millis(50));
    let capture = trace("dns-bogon-in-path");
    replay(&capture, &stage.sent);
    stage.wait_for_finding("dns_injection");
    let said = keeping.end_well();
    assert_eq!(counted(&stage.log()).0, frames(&capture).len() as u64, "{said}");
    // One of the three speaks.
    for part in ["went down", "is up again", "cannot be read any more", "is back"] {
        assert_eq!(said.matches(part).count(), 1, "{part}: {said}");
    }
    let ending = stage.watch(&["--buffer", "4", "--threads", "3"]);
    wait_until("all have a socket", || sockets() == 3);
    ip(&format!("link del {seen}"));
    let (status, said) = ending.wait();
    assert_eq!(status, Some(3), "{said}");
    assert_eq!(said.matches("deleted while it was watched").count(), 1, "{said}");
}
