//! What the ledger says of whole captures: packets are built, judged by a shard as any others, and entered.

use std::sync::Arc;

use etherparse::PacketBuilder;

use super::*;
use crate::engine::shard::Shard;
use crate::engine::worker::Report;
use crate::finding::finding::ResidualTuple;
use crate::finding::verdict::Verdict;
use crate::packet::frame::{Frame, LinkType};
use crate::time::Timestamp;

const CLIENT: [u8; 4] = [198, 51, 100, 7];
const SERVER: [u8; 4] = [203, 0, 113, 80];

/// A link whose packets a shard judges.
struct Link {
    shard: Shard,
    baselines: Arc<Baselines>,
    millis: u64,
    frame: u64,
    port: u16,
}

/// A connection on it.
#[derive(Clone, Copy)]
struct Talk {
    client: ([u8; 4], u16),
    server: ([u8; 4], u16),
    sent: u32,
    answered: u32,
}

impl Link {
    fn new() -> Self {
        let baselines = Arc::new(Baselines::default());
        Self {
            shard: Shard::new(100_000, Arc::clone(&baselines)),
            baselines,
            millis: 1_700_000_000_000,
            frame: 0,
            port: 40_000,
        }
    }

    fn wait(&mut self, millis: u64) {
        self.millis += millis;
    }

    fn put(&mut self, from: ([u8; 4], u16), to: ([u8; 4], u16), flags: &str, seq: u32, ack: u32, payload: &[u8]) {
        self.frame += 1;
        let mut builder = PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(from.0, to.0, 60)
            .tcp(from.1, to.1, seq, 60_000);
        for flag in flags.chars() {
            builder = match flag {
                'S' => builder.syn(),
                'A' => builder.ack(ack),
                'F' => builder.fin(),
                'R' => builder.rst(),
                _ => builder.psh(),
            };
        }
        let mut bytes = Vec::new();
        builder.write(&mut bytes, payload).unwrap();
        self.shard.judge(Frame {
            number: FrameNumber::new(0, self.frame),
            at: Timestamp::from_nanos(self.millis * 1_000_000),
            bytes: &bytes,
            wire_len: bytes.len() as u32,
            link: LinkType::ETHERNET,
        });
        self.millis += 5;
    }

    /// A handshake from a fresh port.
    fn talk(&mut self, client: [u8; 4], server: [u8; 4], port: u16) -> Talk {
        self.port += 1;
        self.talk_from(client, self.port, server, port)
    }

    fn talk_from(&mut self, client: [u8; 4], from: u16, server: [u8; 4], port: u16) -> Talk {
        let talk = Talk {
            client: (client, from),
            server: (server, port),
            sent: (self.frame as u32) * 7919 + 1,
            answered: 9_000,
        };
        self.put(talk.client, talk.server, "S", talk.sent - 1, 0, b"");
        self.put(talk.server, talk.client, "SA", talk.answered - 1, talk.sent, b"");
        self.put(talk.client, talk.server, "A", talk.sent, talk.answered, b"");
        talk
    }

    fn say(&mut self, talk: &mut Talk, bytes: &[u8]) {
        self.put(talk.client, talk.server, "PA", talk.sent, talk.answered, bytes);
        talk.sent += bytes.len() as u32;
    }

    fn reply(&mut self, talk: &mut Talk, bytes: &[u8]) {
        self.put(talk.server, talk.client, "PA", talk.answered, talk.sent, bytes);
        talk.answered += bytes.len() as u32;
    }

    /// The client repeats its last `len` bytes in vain.
    fn in_vain(&mut self, talk: &Talk, bytes: &[u8]) {
        for pause in [300, 900, 1_800, 3_600] {
            self.wait(pause);
            let seq = talk.sent - bytes.len() as u32;
            self.put(talk.client, talk.server, "PA", seq, talk.answered, bytes);
        }
    }

    fn served(&mut self, client: [u8; 4], server: [u8; 4], name: &str) {
        let mut talk = self.talk(client, server, 80);
        self.say(&mut talk, &request(name, 0));
        self.reply(&mut talk, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        self.put(talk.client, talk.server, "FA", talk.sent, talk.answered, b"");
        self.put(talk.server, talk.client, "FA", talk.answered, talk.sent + 1, b"");
    }

    fn swallowed(&mut self, server: [u8; 4], name: &str, padding: usize) {
        let mut talk = self.talk(CLIENT, server, 80);
        let asked = request(name, padding);
        self.say(&mut talk, &asked);
        self.in_vain(&talk, &asked);
    }

    /// SYNs at 0, 1, 3 and 7 seconds that nothing answers.
    fn knock(&mut self, client: [u8; 4], server: [u8; 4], port: u16) {
        self.port += 1;
        self.knock_from(client, self.port, server, port);
    }

    fn knock_from(&mut self, client: [u8; 4], from: u16, server: [u8; 4], port: u16) {
        let seq = (self.frame as u32) * 7919;
        for pause in [0, 1_000, 2_000, 4_000] {
            self.wait(pause);
            self.put((client, from), (server, port), "S", seq, 0, b"");
        }
    }

    fn findings(mut self) -> Vec<Finding> {
        self.shard.end_capture();
        let mut ledger = Ledger::default();
        ledger.enter(Report {
            findings: self.shard.take_findings(),
            traces: self.shard.take_traces(),
            coverage: self.shard.coverage(),
        });
        let (findings, _) = ledger.close(&self.baselines);
        findings.into_iter().map(|(finding, _)| finding).collect()
    }

    #[track_caller]
    fn accuses_nobody(self) {
        let findings = self.findings();
        assert!(findings.is_empty(), "{findings:#?}");
    }
}

fn request(name: &str, padding: usize) -> Vec<u8> {
    let pad = "x".repeat(padding);
    format!("GET / HTTP/1.1\r\nHost: {name}\r\nX-Pad: {pad}\r\n\r\n").into_bytes()
}

fn kinds(findings: &[Finding]) -> Vec<(Kind, Option<Verdict>)> {
    findings
        .iter()
        .map(|finding| (finding.kind, finding.verdict()))
        .collect()
}

const LIKELY: Option<Verdict> = Some(Verdict::Likely);

#[test]
fn a_name_that_dies_at_two_servers_that_serve_others_is_filtered() {
    let mut link = Link::new();
    for server in [[203, 0, 113, 1], [203, 0, 113, 2]] {
        link.served(CLIENT, server, "well.example");
        link.swallowed(server, "blocked.example", 0);
    }
    let findings = link.findings();
    assert_eq!(kinds(&findings), [(Kind::SilentDrop, LIKELY); 2], "{findings:#?}");
}

#[test]
fn losses_among_flows_of_a_name_that_works_accuse_nobody() {
    let mut link = Link::new();
    for _ in 0..4 {
        link.swallowed(SERVER, "busy.example", 0);
        link.served(CLIENT, SERVER, "busy.example");
        link.served(CLIENT, SERVER, "other.example");
        link.served(CLIENT, SERVER, "another.example");
    }
    link.accuses_nobody();
}

#[test]
fn a_large_request_is_not_filtered_by_name_where_only_small_ones_pass() {
    let mut link = Link::new();
    for _ in 0..4 {
        link.swallowed(SERVER, "long.example", 1_300);
        link.served(CLIENT, SERVER, "short.example");
        link.served(CLIENT, SERVER, "brief.example");
    }
    link.accuses_nobody();
}

#[test]
fn a_server_that_hangs_is_not_a_filter() {
    let mut link = Link::new();
    for _ in 0..12 {
        let mut talk = link.talk(CLIENT, SERVER, 80);
        let asked = request("hung.example", 0);
        link.say(&mut talk, &asked);
        link.put(talk.server, talk.client, "A", talk.answered, talk.sent, b"");
        let again = request("hung.example", 5);
        link.say(&mut talk, &again);
        link.in_vain(&talk, &again);
    }
    link.accuses_nobody();
}

#[test]
fn a_silence_a_few_packets_after_the_name_is_found() {
    let mut link = Link::new();
    for _ in 0..3 {
        let mut talk = link.talk(CLIENT, SERVER, 80);
        link.say(&mut talk, &request("blocked.example", 0));
        link.reply(&mut talk, &[b'a'; 900]);
        link.reply(&mut talk, &[b'b'; 900]);
        link.say(&mut talk, b"more of it");
        link.in_vain(&talk, b"more of it");
        link.served(CLIENT, SERVER, "well.example");
    }
    let findings = link.findings();
    assert_eq!(findings.len(), 3);
    for finding in &findings {
        assert_eq!(finding.kind, Kind::SilentDrop);
        assert!(finding.dropped.len() >= 3);
    }
}

#[test]
fn flows_that_freeze_at_the_same_volume_are_frozen() {
    let mut link = Link::new();
    for _ in 0..3 {
        let mut talk = link.talk(CLIENT, SERVER, 443);
        for _ in 0..12 {
            link.reply(&mut talk, &[0; 1400]);
            link.put(talk.client, talk.server, "A", talk.sent, talk.answered, b"");
        }
        link.say(&mut talk, b"still there?");
        link.in_vain(&talk, b"still there?");
    }
    let findings = link.findings();
    assert_eq!(kinds(&findings), [(Kind::VolumeFreeze, LIKELY); 3]);
    let volume = findings[0].particulars.volume.unwrap();
    assert_eq!((volume.bytes, volume.packets), (12 * 1400 + 12, 28));
}

#[test]
fn a_link_that_breaks_in_the_middle_of_a_long_flow_is_no_freeze() {
    let mut link = Link::new();
    let mut talk = link.talk(CLIENT, SERVER, 443);
    for _ in 0..200 {
        link.reply(&mut talk, &[0; 1400]);
        link.put(talk.client, talk.server, "A", talk.sent, talk.answered, b"");
    }
    link.say(&mut talk, b"still there?");
    link.in_vain(&talk, b"still there?");
    link.accuses_nobody();
}

#[test]
fn an_address_that_is_silent_for_a_time_while_others_answer_is_blocked() {
    let mut link = Link::new();
    link.served(CLIENT, SERVER, "match.example");
    link.wait(300_000);
    for other in 1..5 {
        link.knock(CLIENT, SERVER, 80);
        link.served(CLIENT, [203, 0, 113, other], "well.example");
    }
    link.wait(300_000);
    link.served(CLIENT, SERVER, "match.example");
    let findings = link.findings();
    assert_eq!(kinds(&findings), [(Kind::IpBlackhole, LIKELY); 4], "{findings:#?}");
}

#[test]
fn a_host_that_is_off_is_at_most_possibly_blocked() {
    let mut link = Link::new();
    for other in 1..5 {
        link.knock(CLIENT, SERVER, 80);
        link.served(CLIENT, [203, 0, 113, other], "well.example");
    }
    assert!(
        link.findings()
            .iter()
            .all(|finding| finding.verdict() == Some(Verdict::Possible))
    );
}

#[test]
fn a_scan_accuses_nobody() {
    let mut link = Link::new();
    link.served(CLIENT, SERVER, "well.example");
    for host in 1..40 {
        for _ in 0..3 {
            link.port += 1;
        }
        link.knock(CLIENT, [192, 0, host, 9], 443);
    }
    link.accuses_nobody();
}

#[test]
fn a_residual_block_is_told_with_its_window() {
    let mut link = Link::new();
    link.served(CLIENT, SERVER, "well.example");
    link.served(CLIENT, SERVER, "other.example");
    for _ in 0..3 {
        link.swallowed(SERVER, "blocked.example", 0);
    }
    let began = link.millis;
    for _ in 0..3 {
        link.knock(CLIENT, SERVER, 80);
    }
    let failed = link.millis;
    link.wait(120_000);
    link.served(CLIENT, SERVER, "well.example");
    let findings = link.findings();
    let residual: Vec<_> = findings
        .iter()
        .filter(|finding| finding.kind == Kind::ResidualBlock)
        .collect();
    assert_eq!(residual.len(), 1, "{findings:#?}");
    assert_eq!(residual[0].verdict(), LIKELY);
    let window = residual[0].particulars.residual.unwrap();
    assert_eq!(window.tuple, ResidualTuple::Service);
    assert!(window.failed.as_millis() as u64 >= failed - began - 5);
    assert!(window.worked > window.failed);
    assert_eq!(residual[0].dropped.len(), 3);
    assert!(findings.iter().all(|finding| finding.kind != Kind::IpBlackhole));
}

#[test]
fn failures_without_a_trigger_before_them_are_no_residual_block() {
    let mut link = Link::new();
    link.served(CLIENT, SERVER, "well.example");
    link.knock(CLIENT, SERVER, 80);
    link.knock(CLIENT, SERVER, 80);
    link.served(CLIENT, SERVER, "well.example");
    assert!(
        link.findings()
            .iter()
            .all(|finding| finding.kind != Kind::ResidualBlock)
    );
}

#[test]
fn a_shutdown_is_one_finding() {
    let mut link = Link::new();
    for network in 1..=12 {
        link.served(CLIENT, [90, network, 0, 1], "abroad.example");
    }
    link.wait(60_000);
    for network in 1..=12 {
        link.knock(CLIENT, [90, network, 0, 1], 80);
        link.served(CLIENT, [91, 1, 0, 1], "home.example");
    }
    let findings = link.findings();
    assert_eq!(kinds(&findings), [(Kind::Shutdown, LIKELY)], "{findings:#?}");
    assert_eq!(findings[0].dropped.len(), 12);
}

#[test]
fn peers_that_come_and_go_are_no_shutdown() {
    let mut link = Link::new();
    for network in 1..=12 {
        link.served(CLIENT, [90, network, 0, 1], "abroad.example");
    }
    for network in 1..=12 {
        link.knock(CLIENT, [90, network, 0, 1], 6_881);
        link.served(CLIENT, [91, network, 0, 1], "home.example");
    }
    link.accuses_nobody();
}
