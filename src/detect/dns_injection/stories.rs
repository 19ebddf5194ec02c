//! What the detector says of whole conversations: packets are built, judged by a shard as any others, and the findings
//! looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use etherparse::PacketBuilder;

use super::exchange::SpareLists;
use super::*;
use crate::detect::trial::Trial;
use crate::engine::baselines::Baselines;
use crate::engine::shard::Shard;
use crate::finding::finding::{Finding, Position};
use crate::flow::talk::{self, opened};
use crate::packet::frame::{Frame, FrameNumber, LinkType};
use crate::time::Timestamp;

const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);
/// A resolver of which nothing is known.
const OPERATORS: Ipv4Addr = Ipv4Addr::new(45, 140, 7, 53);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const GENUINE: [u8; 4] = [151, 101, 1, 140];
const FORGED: [u8; 4] = [31, 13, 94, 37];

/// A DNS message in the making.
#[derive(Clone)]
struct Dns {
    id: u16,
    flags: u16,
    name: &'static str,
    qtype: u16,
    answers: Vec<(u16, u32, Vec<u8>)>,
    soa: bool,
    opt: Option<Vec<u8>>,
    tail: Vec<u8>,
}

fn query(id: u16, name: &'static str) -> Dns {
    Dns {
        id,
        flags: 0x0100,
        name,
        qtype: 1,
        answers: Vec::new(),
        soa: false,
        opt: None,
        tail: Vec::new(),
    }
}

impl Dns {
    fn answer(&self) -> Self {
        let mut answer = self.clone();
        answer.flags = 0x8180;
        answer.opt = None;
        answer
    }
    fn a(mut self, address: [u8; 4]) -> Self {
        self.answers.push((1, 300, address.to_vec()));
        self
    }
    fn aaaa(mut self, address: &str) -> Self {
        let address: Ipv6Addr = address.parse().unwrap();
        self.answers.push((28, 300, address.octets().to_vec()));
        self
    }
    fn ttl(mut self, ttl: u32) -> Self {
        self.answers.iter_mut().for_each(|answer| answer.1 = ttl);
        self
    }
    fn edns(mut self) -> Self {
        self.opt = Some(Vec::new());
        self
    }
    fn flags(mut self, flags: u16) -> Self {
        self.flags = flags;
        self
    }
    fn with_soa(mut self) -> Self {
        self.soa = true;
        self
    }
    fn for_aaaa(mut self) -> Self {
        self.qtype = 28;
        self
    }
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let counts = [
            1,
            self.answers.len() as u16,
            u16::from(self.soa),
            u16::from(self.opt.is_some()),
        ];
        for word in [self.id, self.flags].into_iter().chain(counts) {
            bytes.extend(word.to_be_bytes());
        }
        for label in self.name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend([0, self.qtype as u8, 0, 1]);
        for (kind, ttl, data) in &self.answers {
            bytes.extend([0xc0, 0x0c, 0, *kind as u8, 0, 1]);
            bytes.extend(ttl.to_be_bytes());
            bytes.extend((data.len() as u16).to_be_bytes());
            bytes.extend(data);
        }
        if self.soa {
            bytes.extend([0xc0, 0x0c, 0, 6, 0, 1, 0, 0, 0, 60, 0, 22]);
            bytes.extend([0; 22]);
        }
        if let Some(options) = &self.opt {
            bytes.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0]);
            bytes.extend((options.len() as u16).to_be_bytes());
            bytes.extend(options);
        }
        bytes.extend(&self.tail);
        bytes
    }
}

/// How a packet is sent.
#[derive(Clone, Copy)]
struct Via {
    ttl: u8,
    ip_id: u16,
    dont_fragment: bool,
    mac: u8,
}

/// A server's ordinary packet.
const fn via(ttl: u8, ip_id: u16) -> Via {
    Via {
        ttl,
        ip_id,
        dont_fragment: false,
        mac: 1,
    }
}

/// A small network, seen from the client's link.
struct Tap {
    shard: Shard,
    at: u64,
    frame: u64,
    server: Ipv4Addr,
    port: u16,
}

impl Tap {
    fn on(server: Ipv4Addr) -> Self {
        Self {
            shard: Shard::new(1000, Arc::new(Baselines::default())),
            at: 1_700_000_000_000,
            frame: 0,
            server,
            port: 40_000,
        }
    }

    /// A tap that has seen the server answer `count` ordinary questions from TTL `ttl` within 30 ms.
    fn used_to(server: Ipv4Addr, count: u16, ttl: u8) -> Self {
        let mut tap = Self::on(server);
        const NAMES: [&str; 4] = ["a.example.net", "b.example.net", "c.example.net", "d.example.net"];
        for number in 0..count {
            let question = query(number + 100, NAMES[usize::from(number) % 4]).edns();
            tap.ask(&question);
            tap.after(30);
            let address = [93, 184, number as u8, 34];
            // Ids that follow no rule.
            tap.reply(
                &question.answer().a(address).edns(),
                via(ttl, number.wrapping_mul(12_345)),
            );
            tap.after(400);
        }
        tap
    }

    fn after(&mut self, millis: u64) -> &mut Self {
        self.at += millis;
        self
    }

    fn judge(&mut self, bytes: &[u8]) -> u64 {
        self.frame += 1;
        self.shard.judge(Frame {
            number: FrameNumber::new(0, self.frame),
            at: Timestamp::from_nanos(self.at * 1_000_000),
            bytes,
            wire_len: bytes.len() as u32,
            link: LinkType::ETHERNET,
        });
        self.frame
    }

    fn udp(&mut self, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), via: Via, payload: &[u8]) -> u64 {
        let mut header =
            etherparse::Ipv4Header::new(0, via.ttl, etherparse::IpNumber::UDP, from.0.octets(), to.0.octets()).unwrap();
        header.identification = via.ip_id;
        header.dont_fragment = via.dont_fragment;
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, via.mac], [2, 0, 0, 0, 0, 9])
            .ip(etherparse::IpHeaders::Ipv4(header, Default::default()))
            .udp(from.1, to.1);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, payload).unwrap();
        self.judge(&bytes)
    }

    /// The client asks from a port of its own.
    fn ask(&mut self, question: &Dns) -> u64 {
        self.port += 1;
        self.ask_again(question, 0x5000 + self.port)
    }

    fn ask_again(&mut self, question: &Dns, ip_id: u16) -> u64 {
        let (client, server) = ((CLIENT, self.port), (self.server, 53));
        let mut sent = via(64, ip_id);
        sent.mac = 7;
        self.udp(client, server, sent, &question.bytes())
    }

    fn reply(&mut self, answer: &Dns, via: Via) -> u64 {
        let (client, server) = ((CLIENT, self.port), (self.server, 53));
        self.udp(server, client, via, &answer.bytes())
    }

    fn findings(&mut self) -> Vec<Finding> {
        self.shard.end_capture();
        let mut findings = self.shard.take_findings();
        findings.retain(|finding| finding.kind == Kind::DnsInjection && finding.verdict().is_some());
        findings.sort_by_key(|finding| finding.decided_by);
        findings
    }

    /// What is told of the resolver itself, or of the network.
    fn told(&mut self) -> Vec<Finding> {
        self.shard.end_capture();
        let mut findings = self.shard.take_findings();
        findings.retain(|finding| finding.verdict().is_some());
        assert!(
            findings.iter().all(|finding| finding.kind != Kind::DnsInjection),
            "{findings:#?}"
        );
        findings.sort_by_key(|finding| finding.decided_by);
        findings
    }

    /// Asks for a name and is answered `address`, from the resolver's usual place.
    fn resolve(&mut self, name: &'static str, address: [u8; 4]) {
        let question = query(77, name);
        self.ask(&question);
        let ip_id = self.port.wrapping_mul(12_345);
        self.after(30).reply(&question.answer().a(address), via(57, ip_id));
        self.after(400);
    }

    /// Nothing at `likely` or above.
    fn accuses_nobody(&mut self) {
        let findings = self.findings();
        let loud: Vec<_> = findings
            .iter()
            .filter(|finding| finding.verdict() >= Some(Verdict::Likely))
            .collect();
        assert!(loud.is_empty(), "{loud:#?}");
    }

    fn only_finding(&mut self) -> Finding {
        let mut findings = self.findings();
        assert_eq!(findings.len(), 1, "{findings:#?}");
        findings.remove(0)
    }
}

fn frames(numbers: &[FrameNumber]) -> Vec<u64> {
    numbers.iter().map(|number| number.in_file()).collect()
}

fn saw(finding: &Finding, key: &str) -> bool {
    finding
        .evidence
        .iter()
        .any(|evidence| evidence.observation.key() == key)
}

#[test]
fn it_rests_where_no_dns_is_spoken() {
    let rests = |port: u16| {
        let mut trial = Trial::of(DnsInjection::default(), port);
        trial.show(&opened(&[talk::client(talk::A, 1, 1, b"hello")]));
        trial.rests()
    };
    assert!(rests(443));
    assert!(!rests(53));
}

#[test]
fn a_forged_answer_before_the_genuine_one_is_confirmed() {
    let mut tap = Tap::used_to(PUBLIC, 6, 57);
    let question = query(7, "blocked.example.com").edns();
    let asked = tap.ask(&question);
    let forged = tap.after(5).reply(&question.answer().a(FORGED), via(241, 0xbeef));
    let genuine = tap.after(25).reply(&question.answer().a(GENUINE).edns(), via(57, 9));
    let finding = tap.only_finding();
    assert_eq!(finding.verdict(), Some(Verdict::Confirmed));
    assert_eq!(
        (frames(&finding.forged), frames(&finding.genuine)),
        (vec![forged], vec![genuine])
    );
    let trigger = finding.trigger.unwrap();
    assert_eq!(trigger.name.as_deref(), Some("blocked.example.com"));
    assert_eq!(trigger.frame.in_file(), asked);
    assert_eq!(finding.position, Position::OnPath);
    assert_eq!(finding.particulars.forged_answers, ["A 31.13.94.37"]);
    assert_eq!(finding.injector.unwrap().hops_from_tap, Some((14, 14)));
}

#[test]
fn a_forged_answer_after_the_genuine_one_is_still_the_forged_one() {
    let mut tap = Tap::used_to(PUBLIC, 6, 57);
    let question = query(7, "blocked.example.com").edns();
    tap.ask(&question);
    let genuine = tap.after(25).reply(&question.answer().a(GENUINE).edns(), via(57, 9));
    let forged = tap.after(5).reply(&question.answer().a(FORGED), via(241, 0xbeef));
    let finding = tap.only_finding();
    assert_eq!(finding.verdict(), Some(Verdict::Confirmed));
    assert_eq!(
        (frames(&finding.forged), frames(&finding.genuine)),
        (vec![forged], vec![genuine])
    );
    assert!(saw(&finding, "genuine_answer_before"));
}

#[test]
fn three_injectors_and_the_server_are_told_apart_without_knowing_the_server() {
    let mut tap = Tap::on(PUBLIC);
    let question = query(7, "blocked.example.com").edns();
    tap.ask(&question);
    let mut forged = vec![
        tap.after(8)
            .reply(&question.answer().a(FORGED).flags(0x8580).ttl(60), via(88, 5)),
    ];
    let mut random = via(201, 0xa1b2);
    random.dont_fragment = true;
    forged.push(tap.reply(&question.answer().a([4, 36, 66, 178]), random));
    forged.push(tap.reply(&question.answer().a([8, 7, 198, 45]), via(49, 0)));
    let genuine = tap
        .after(60)
        .reply(&question.answer().a(GENUINE).edns(), via(52, 0x3333));
    let finding = tap.only_finding();
    assert_eq!(finding.verdict(), Some(Verdict::Confirmed));
    assert_eq!(
        (frames(&finding.forged), frames(&finding.genuine)),
        (forged, vec![genuine])
    );
    assert_eq!(
        finding.injector.unwrap().hops_from_tap,
        None,
        "random TTLs tell no distance"
    );
}

#[test]
fn a_forged_no_such_name_lacks_the_zone_that_says_so() {
    let mut tap = Tap::on(PUBLIC);
    let question = query(7, "blocked.example.com");
    tap.ask(&question);
    let forged = tap.after(4).reply(&question.answer().flags(0x8183), via(60, 77));
    tap.after(30).reply(&question.answer().a(GENUINE), via(52, 4));
    let finding = tap.only_finding();
    assert_eq!(frames(&finding.forged), [forged]);
    assert_eq!(finding.particulars.forged_answers, ["NXDOMAIN"]);
    assert_eq!(finding.verdict(), Some(Verdict::Confirmed));
}

#[test]
fn an_answer_that_only_content_tells_from_the_other_stays_likely() {
    let mut tap = Tap::on(PUBLIC);
    let question = query(7, "blocked.example.com");
    tap.ask(&question);
    let first = tap.after(9).reply(&question.answer().a(FORGED), via(57, 0x1000));
    tap.after(9).reply(&question.answer().a(GENUINE), via(57, 0x9000));
    let finding = tap.only_finding();
    assert_eq!(finding.verdict(), Some(Verdict::Likely));
    assert_eq!(frames(&finding.forged), [first]);
}

#[test]
fn each_question_of_a_flow_gets_its_own_finding_within_three_seconds() {
    let mut tap = Tap::on(PUBLIC);
    tap.port += 1;
    for (id, name) in [(7, "one.example.com"), (8, "two.example.com")] {
        let question = query(id, name);
        tap.ask_again(&question, 0x100 + id);
        tap.after(4).reply(&question.answer().a(FORGED), via(240, 3));
        tap.after(9).reply(&question.answer().a(GENUINE), via(57, 4));
    }
    let at = Timestamp::from_nanos(tap.at * 1_000_000).plus(Duration::from_secs(3));
    tap.shard.settle(at);
    let names: Vec<_> = tap
        .shard
        .take_findings()
        .into_iter()
        .filter_map(|found| found.trigger?.name)
        .collect();
    assert_eq!(names, ["one.example.com", "two.example.com"]);
    assert!(tap.findings().is_empty(), "filed once");
}

#[test]
fn marks_of_turkmenistans_filter_convict_a_single_answer() {
    let mut tap = Tap::on(PUBLIC);
    let question = query(7, "blocked.example.com");
    tap.ask(&question);
    tap.after(40)
        .reply(&question.answer().a([127, 0, 0, 1]), via(110, 30_000));
    let finding = tap.only_finding();
    assert_eq!(finding.verdict(), Some(Verdict::Confirmed));
    assert!(finding.injector.unwrap().device.is_some());
    assert_eq!(
        finding.position,
        Position::Unknown,
        "that nothing else came proves nothing"
    );
}

#[test]
fn irans_address_with_a_foreign_ttl_convicts_and_without_does_not() {
    for (ttl, verdict) in [(61, Some(Verdict::Confirmed)), (57, None)] {
        let mut tap = Tap::used_to(PUBLIC, 6, 57);
        let question = query(7, "blocked.example.com").edns();
        tap.ask(&question);
        tap.after(30)
            .reply(&question.answer().a([10, 10, 34, 36]).edns(), via(ttl, 0x4242));
        let findings = tap.findings();
        assert_eq!(findings.first().and_then(Finding::verdict), verdict, "{findings:#?}");
        if let Some(finding) = findings.first() {
            assert_eq!(
                finding.particulars.fingerprint.as_ref().unwrap().known_from.as_deref(),
                Some("IR")
            );
        }
    }
}

#[test]
fn an_id_taken_from_the_question_and_a_false_address_convict_together() {
    let mut tap = Tap::on(PUBLIC);
    let question = query(7, "blocked.example.com");
    tap.ask(&question);
    let id = 0x5000 + tap.port;
    tap.after(6).reply(&question.answer().a([10, 6, 6, 6]), via(64, id));
    let finding = tap.only_finding();
    assert_eq!(finding.verdict(), Some(Verdict::Likely));
    assert!(saw(&finding, "ip_id_copied_from_trigger"));
    assert!(finding.injector.unwrap().mirrors_ttl);
}

#[test]
fn a_server_that_always_takes_the_questions_id_is_used_to() {
    let mut tap = Tap::on(PUBLIC);
    for number in 0..8 {
        let question = query(number, "www.example.com");
        tap.ask(&question);
        let id = 0x5000 + tap.port;
        tap.after(6).reply(&question.answer().a(GENUINE), via(64, id));
    }
    let question = query(77, "gallery.example.com");
    tap.ask(&question);
    let id = 0x5000 + tap.port;
    tap.after(6).reply(&question.answer().a([10, 6, 6, 6]), via(64, id));
    tap.accuses_nobody();
}

#[test]
fn a_retransmitted_question_with_equal_answers_is_ordinary() {
    let mut tap = Tap::on(PUBLIC);
    let question = query(7, "www.example.com");
    tap.ask(&question);
    tap.after(1000).ask_again(&question, 9);
    tap.after(30)
        .reply(&question.answer().a(GENUINE).a(FORGED), via(57, 0x100));
    // The other order, and the time to live has counted down.
    tap.after(5)
        .reply(&question.answer().a(FORGED).a(GENUINE).ttl(299), via(57, 0x900));
    assert!(tap.findings().is_empty());
}

#[test]
fn two_questions_may_get_two_addresses() {
    let mut tap = Tap::on(PUBLIC);
    let question = query(7, "www.example.com");
    tap.ask(&question);
    tap.after(1000).ask_again(&question, 9);
    tap.after(30).reply(&question.answer().a(GENUINE), via(57, 0x100));
    tap.after(5).reply(&question.answer().a(FORGED), via(57, 0x900));
    tap.accuses_nobody();
}

#[test]
fn a_repeated_question_is_no_excuse_for_a_stranger() {
    let mut tap = Tap::on(PUBLIC);
    let question = query(7, "blocked.example.com");
    tap.ask(&question);
    tap.after(1000).ask_again(&question, 9);
    let forged = tap.after(3).reply(&question.answer().a([10, 6, 6, 6]), via(250, 0x900));
    tap.after(30).reply(&question.answer().a(GENUINE), via(57, 0x100));
    let finding = tap.only_finding();
    assert_eq!(finding.verdict(), Some(Verdict::Confirmed));
    assert_eq!(frames(&finding.forged), [forged]);
}

#[test]
fn a_mirror_that_shows_packets_twice_makes_no_second_question_or_answer() {
    let mut tap = Tap::on(PUBLIC);
    let question = query(7, "blocked.example.com");
    tap.ask(&question);
    let mut forwarded = via(63, 0x5000 + tap.port);
    forwarded.mac = 8;
    let port = tap.port;
    tap.after(2)
        .udp((CLIENT, port), (PUBLIC, 53), forwarded, &question.bytes());
    let forged = tap.after(3).reply(&question.answer().a(FORGED), via(250, 0x900));
    let copy = tap.after(2).reply(&question.answer().a(FORGED), via(249, 0x900));
    tap.after(30).reply(&question.answer().a(GENUINE), via(57, 0x100));
    tap.after(1).reply(&question.answer().a(GENUINE), via(56, 0x100));
    let finding = tap.only_finding();
    assert_eq!(finding.verdict(), Some(Verdict::Confirmed));
    assert_eq!(frames(&finding.forged), [forged, copy]);

    let mut tap = Tap::on(PUBLIC);
    tap.ask(&question);
    tap.after(30).reply(&question.answer().a(GENUINE), via(57, 0x100));
    tap.after(1).reply(&question.answer().a(GENUINE), via(56, 0x100));
    assert!(tap.findings().is_empty(), "a copy is no forgery");
}

#[test]
fn a_route_that_changes_for_good_accuses_nobody() {
    let mut tap = Tap::used_to(PUBLIC, 8, 57);
    for number in 0..6 {
        let question = query(number, "www.example.com").edns();
        tap.ask(&question);
        tap.after(50)
            .reply(&question.answer().a([10, 0, 0, 5]).edns(), via(52, number * 999));
        let other = query(number + 50, "other.example.org").edns();
        tap.after(10).ask(&other);
        tap.after(50)
            .reply(&other.answer().a(GENUINE).edns(), via(52, number * 777));
    }
    tap.accuses_nobody();
}

#[test]
fn a_forwarder_that_asks_two_servers_at_once_is_not_accused() {
    let mut tap = Tap::on(ROUTER);
    let question = query(7, "www.example.com");
    tap.ask(&question);
    tap.after(9).reply(&question.answer().a(FORGED), via(64, 0x1000));
    tap.after(9).reply(&question.answer().a(GENUINE), via(64, 0x9000));
    tap.accuses_nobody();
}

#[test]
fn a_forger_on_the_lan_of_a_forwarder_is_found_by_its_marks() {
    let mut tap = Tap::on(ROUTER);
    let question = query(7, "www.example.com");
    tap.ask(&question);
    tap.after(9).reply(&question.answer().a(GENUINE), via(64, 0x1000));
    let mut stranger = via(128, 0x9000);
    stranger.mac = 66;
    let forged = tap.after(9).reply(&question.answer().a([192, 168, 1, 66]), stranger);
    let finding = tap.only_finding();
    assert_eq!(finding.verdict(), Some(Verdict::Confirmed));
    assert_eq!(frames(&finding.forged), [forged]);
}

#[test]
fn two_addresses_of_one_network_are_one_service() {
    let mut tap = Tap::on(PUBLIC);
    let question = query(7, "news.example.com");
    tap.ask(&question);
    tap.after(9)
        .reply(&question.answer().a([212, 58, 244, 66]), via(57, 0x1000));
    tap.after(9)
        .reply(&question.answer().a([212, 58, 244, 71]), via(57, 0x9000));
    tap.accuses_nobody();
}

#[test]
fn a_failure_and_then_an_answer_is_a_retry() {
    let mut tap = Tap::on(PUBLIC);
    let question = query(7, "www.example.com");
    tap.ask(&question);
    tap.after(900).reply(&question.answer().flags(0x8182), via(57, 0x1000));
    tap.after(400).reply(&question.answer().a(GENUINE), via(57, 0x9000));
    tap.accuses_nobody();
}

#[test]
fn a_truncated_answer_differs_from_nothing() {
    let mut tap = Tap::on(PUBLIC);
    let question = query(7, "www.example.com");
    tap.ask(&question);
    tap.after(9).reply(&question.answer().flags(0x8380), via(57, 0x1000));
    tap.after(9).reply(&question.answer().a(GENUINE), via(57, 0x9000));
    assert!(tap.findings().is_empty());
}

#[test]
fn translated_addresses_are_no_bogons() {
    let mut tap = Tap::used_to(PUBLIC, 6, 57);
    let question = query(7, "v4only.example.com").for_aaaa().edns();
    tap.ask(&question);
    tap.after(30)
        .reply(&question.answer().aaaa("64:ff9b::9765:18c").edns(), via(64, 3));
    tap.accuses_nobody();
}

#[test]
fn a_house_may_answer_for_its_own_names() {
    for name in ["printer.lan", "nas.home.arpa", "intranet", "wiki.corp"] {
        let mut tap = Tap::on(ROUTER);
        let question = query(7, name);
        tap.ask(&question);
        tap.after(1).reply(&question.answer().a([192, 168, 1, 20]), via(64, 3));
        assert!(tap.findings().is_empty(), "{name}");
    }
    // A public name answered inside the house: no sign but the address.
    let mut tap = Tap::on(ROUTER);
    let question = query(7, "mail.example.com");
    tap.ask(&question);
    tap.after(1)
        .reply(&question.answer().a([192, 168, 1, 20]).flags(0x8580), via(64, 3));
    assert!(tap.findings().is_empty());
}

#[test]
fn a_captive_portal_that_answers_everything_alike_is_not_accused() {
    let mut tap = Tap::used_to(PUBLIC, 8, 57);
    for (id, name) in [
        (1, "www.example.com"),
        (2, "mail.example.org"),
        (3, "news.example.net"),
        (4, "cdn.example.edu"),
    ] {
        let question = query(id, name);
        tap.ask(&question);
        tap.after(2).reply(&question.answer().a([10, 0, 0, 1]), via(64, 3 + id));
    }
    tap.accuses_nobody();
}

#[test]
fn an_advertisement_blocker_is_not_accused() {
    for address in [[0, 0, 0, 0], [127, 0, 0, 1], [192, 168, 1, 2]] {
        let mut tap = Tap::used_to(ROUTER, 8, 64);
        let question = query(7, "ads.example.com").edns();
        tap.ask(&question);
        tap.after(1).reply(&question.answer().a(address).edns(), via(64, 0x77));
        assert!(tap.findings().is_empty());
    }
}

#[test]
fn a_private_answer_withheld_by_rebinding_protection_is_ordinary() {
    let mut tap = Tap::used_to(ROUTER, 8, 64);
    let question = query(7, "rebind.example.com").edns();
    tap.ask(&question);
    tap.after(1).reply(&question.answer().edns(), via(64, 0x77));
    assert!(tap.findings().is_empty());
}

#[test]
fn a_resolver_that_says_it_blocks_is_not_called_forged() {
    // RFC 8914: option 15, codes 15 to 17.
    for code in 15..=17 {
        let mut tap = Tap::used_to(PUBLIC, 8, 57);
        let question = query(7, "blocked.example.com").edns();
        tap.ask(&question);
        let mut answer = question.answer().a([10, 10, 34, 36]);
        answer.opt = Some(vec![0, 15, 0, 2, 0, code]);
        tap.after(30).reply(&answer, via(57, 0x77));
        tap.accuses_nobody();
    }
}

#[test]
fn a_server_that_never_speaks_edns_is_used_to() {
    let mut tap = Tap::on(PUBLIC);
    for number in 0..8 {
        let question = query(number, "www.example.com").edns();
        tap.ask(&question);
        tap.after(30)
            .reply(&question.answer().a(GENUINE), via(57, number * 4321));
    }
    let question = query(99, "gallery.example.com").edns();
    tap.ask(&question);
    tap.after(30).reply(&question.answer().a([10, 0, 0, 9]), via(57, 0x77));
    tap.accuses_nobody();
}

#[test]
fn an_answer_too_fast_and_from_elsewhere_is_accused_even_alone() {
    let mut tap = Tap::used_to(PUBLIC, 12, 57);
    let question = query(7, "blocked.example.com").edns();
    tap.ask(&question);
    tap.after(3).reply(&question.answer().a(FORGED), via(61, 0x4242));
    let finding = tap.only_finding();
    assert!(saw(&finding, "too_fast") && saw(&finding, "ttl_differs"));
    assert_eq!(finding.verdict(), Some(Verdict::Likely));
}

#[test]
fn an_address_in_answer_to_the_other_kind_of_question_is_a_mismatch() {
    let mut tap = Tap::used_to(PUBLIC, 8, 57);
    let question = query(7, "blocked.example.com").for_aaaa().edns();
    tap.ask(&question);
    tap.after(30).reply(&question.answer().a(FORGED), via(61, 0x77));
    let finding = tap.only_finding();
    assert!(saw(&finding, "answer_type_mismatch"));
    assert_eq!(finding.verdict(), Some(Verdict::Likely));
}

#[test]
fn other_ports_and_multicast_are_left_alone() {
    let mut tap = Tap::on(PUBLIC);
    let question = query(7, "printer.example.com");
    for port in [5353, 5355, 137] {
        tap.udp((CLIENT, 4000), (PUBLIC, port), via(64, 1), &question.bytes());
        let answers = [question.answer().a(FORGED), question.answer().a(GENUINE)];
        for (ttl, answer) in [60, 250].into_iter().zip(answers) {
            tap.udp((PUBLIC, port), (CLIENT, 4000), via(ttl, 5), &answer.bytes());
        }
    }
    assert!(tap.findings().is_empty());
}

#[test]
fn answers_over_tcp_are_compared_too() {
    let mut tap = Tap::on(PUBLIC);
    let question = query(7, "blocked.example.com");
    let frame = |message: &Dns| {
        let bytes = message.bytes();
        [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()
    };
    let asked = frame(&question);
    // Iran's injector leaves out the question's class (wire-facts 3.2).
    let mut forged = question.answer().a([10, 10, 34, 36]).bytes();
    let class = 12 + "blocked.example.com".len() + 2 + 2;
    forged.drain(class..class + 2);
    let forged = [&(forged.len() as u16).to_be_bytes()[..], &forged].concat();
    let genuine = frame(&question.answer().a(GENUINE));
    let mut send = |from_server: bool, flags: &str, seq: u32, ack: u32, ttl: u8, payload: &[u8]| {
        let (client, server) = ((CLIENT, 50_000), (PUBLIC, 53));
        let (from, to) = if from_server {
            (server, client)
        } else {
            (client, server)
        };
        let mut builder = PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(from.0.octets(), to.0.octets(), ttl)
            .tcp(from.1, to.1, seq, 65_000);
        if flags.contains('S') {
            builder = builder.syn();
        }
        if flags.contains('A') {
            builder = builder.ack(ack);
        }
        let mut bytes = Vec::new();
        builder.write(&mut bytes, payload).unwrap();
        tap.after(2).judge(&bytes)
    };
    send(false, "S", 100, 0, 64, &[]);
    send(true, "SA", 500, 101, 57, &[]);
    send(false, "A", 101, 501, 64, &[]);
    send(false, "A", 101, 501, 64, &asked);
    let forged = send(true, "A", 501, 101 + asked.len() as u32, 62, &forged);
    let genuine = send(true, "A", 501, 101 + asked.len() as u32, 57, &genuine);
    let finding = tap.only_finding();
    assert_eq!(finding.verdict(), Some(Verdict::Confirmed));
    assert_eq!(
        (frames(&finding.forged), frames(&finding.genuine)),
        (vec![forged], vec![genuine])
    );
    assert!(saw(&finding, "malformed_answer") && saw(&finding, "conflicting_overlap"));
}

#[test]
fn memory_of_one_flow_is_bounded() {
    let (mut exchanges, mut spare) = (Exchanges::default(), SpareLists::default());
    for number in 0..5000_u16 {
        let question = query(number, "www.example.com");
        let bytes = question
            .answer()
            .a(number.to_be_bytes().repeat(2).try_into().unwrap())
            .bytes();
        let message = DnsMessage::read(&bytes).unwrap();
        for repeat in 0..20 {
            let answer = Answer::read(
                &message,
                FrameNumber::new(0, u64::from(number)),
                Timestamp::from_nanos(u64::from(number) * 20 + repeat),
                crate::packet::path_marks::PathMarks {
                    ttl: 57,
                    ip_id: Some(repeat as u16 + 2),
                    dont_fragment: false,
                    traffic_class: 0,
                    link_source: 0,
                },
                false,
            );
            exchanges.answer(&message, answer, &mut spare);
        }
    }
    assert_eq!(exchanges.questions.len(), 32);
    assert_eq!(exchanges.answers.len(), 32 * 8);
}

#[test]
fn an_address_over_ipv6_is_judged_alike() {
    let client: Ipv6Addr = "2001:db8::10".parse().unwrap();
    let server: Ipv6Addr = "2620:fe::fe".parse().unwrap();
    let mut tap = Tap::on(PUBLIC);
    let question = query(7, "blocked.example.com").for_aaaa();
    let mut send = |from: Ipv6Addr, to: Ipv6Addr, ports: (u16, u16), hops: u8, dns: &Dns| {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv6(from.octets(), to.octets(), hops)
            .udp(ports.0, ports.1);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, &dns.bytes()).unwrap();
        tap.after(7).judge(&bytes)
    };
    send(client, server, (40_001, 53), 64, &question);
    let forged = send(
        server,
        client,
        (53, 40_001),
        200,
        &question.answer().aaaa("2001::c710:9c57"),
    );
    send(
        server,
        client,
        (53, 40_001),
        57,
        &question.answer().aaaa("2a04:4e42::396"),
    );
    let finding = tap.only_finding();
    assert_eq!(finding.verdict(), Some(Verdict::Confirmed));
    assert_eq!(frames(&finding.forged), [forged]);
    assert_eq!(finding.conversation.client.ip, IpAddr::V6(client));
}

#[test]
fn a_genuine_no_with_its_zone_is_not_taken_for_the_forgery() {
    let mut tap = Tap::on(PUBLIC);
    let question = query(7, "gone.example.com").edns();
    tap.ask(&question);
    let genuine = tap
        .after(9)
        .reply(&question.answer().flags(0x8183).with_soa().edns(), via(57, 0x1000));
    let forged = tap.after(9).reply(&question.answer().a(FORGED), via(47, 0x9000));
    let finding = tap.only_finding();
    assert_eq!(
        (frames(&finding.forged), frames(&finding.genuine)),
        (vec![forged], vec![genuine])
    );
}

#[test]
fn a_resolver_that_says_it_blocks_is_told_as_acknowledged() {
    let mut tap = Tap::used_to(OPERATORS, 6, 57);
    let question = query(7, "blocked.example.com").edns();
    tap.ask(&question);
    let mut answer = question.answer().flags(0x8183);
    answer.opt = Some(vec![0, 15, 0, 2, 0, 16]);
    tap.after(30).reply(&answer, via(57, 0));
    let told = tap.told();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(
        (told[0].kind, told[0].verdict()),
        (Kind::DnsBlockAnswer, Some(Verdict::Confirmed))
    );
    assert!(saw(&told[0], "resolver_says_so"));
    assert_eq!(told[0].claimed_sender, None, "nobody's name was used");
}

#[test]
fn locked_safe_search_is_the_resolvers_own_answer() {
    let mut tap = Tap::used_to(OPERATORS, 6, 57);
    tap.resolve("www.google.com", [216, 239, 38, 120]);
    tap.resolve("forcesafesearch.google.com", [216, 239, 38, 120]);
    let told = tap.told();
    assert_eq!(
        told.len(),
        1,
        "the name of safe search itself may have its address: {told:#?}"
    );
    assert_eq!(
        (told[0].kind, told[0].verdict()),
        (Kind::DnsBlockAnswer, Some(Verdict::Confirmed))
    );
}

#[test]
fn a_household_that_locks_safe_search_is_not_accused() {
    let mut tap = Tap::on(ROUTER);
    tap.resolve("www.google.com", [216, 239, 38, 120]);
    assert_eq!(tap.told(), []);
}

#[test]
fn names_that_cannot_exist_and_share_an_address_show_rewriting() {
    let mut tap = Tap::used_to(OPERATORS, 6, 57);
    tap.resolve("qkxwzjvbtr", [198, 51, 200, 11]);
    tap.resolve("example.com", [93, 184, 215, 14]);
    tap.resolve("vbnmzxqwpl", [198, 51, 200, 11]);
    tap.resolve("absent.example.org", [198, 51, 200, 11]);
    let told = tap.told();
    let verdicts: Vec<_> = told.iter().map(|finding| (finding.kind, finding.verdict())).collect();
    assert_eq!(
        verdicts,
        [(Kind::DnsBlockAnswer, Some(Verdict::Likely)); 3],
        "two names nobody can have, and one that somebody might"
    );
    assert!(saw(&told[2], "address_of_made_up_names"));
}

#[test]
fn one_made_up_name_proves_little_and_random_looking_names_may_share_a_server() {
    let mut tap = Tap::used_to(OPERATORS, 6, 57);
    tap.resolve("qkxwzjvbtr", [198, 51, 200, 11]);
    for name in ["8f3kq72mz0pw4l.com", "2k9d8s7w6q5x1.net"] {
        tap.resolve(name, [151, 101, 9, 9]);
    }
    let told = tap.told();
    assert!(
        told.iter().all(|finding| finding.verdict() == Some(Verdict::Possible)),
        "{told:#?}"
    );
}

#[test]
fn names_that_do_not_exist_and_are_refused_are_ordinary() {
    let mut tap = Tap::used_to(OPERATORS, 6, 57);
    let question = query(77, "qkxwzjvbtr");
    tap.ask(&question);
    tap.after(30)
        .reply(&question.answer().flags(0x8183).with_soa(), via(57, 0));
    assert_eq!(tap.told(), []);
}

#[test]
fn a_sink_for_unrelated_names_is_told_and_a_companys_own_names_are_not() {
    let mut sink = Tap::used_to(OPERATORS, 6, 57);
    let mut company = Tap::used_to(OPERATORS, 6, 57);
    for name in ["news.example.com", "www.example.org", "www.example.net"] {
        sink.resolve(name, [10, 1, 2, 3]);
        sink.resolve("fine.example.info", [93, 184, 215, 14]);
    }
    for name in ["wiki.example.com", "mail.example.com", "git.example.com"] {
        company.resolve(name, [10, 1, 2, 3]);
        company.resolve("fine.example.info", [93, 184, 215, 14]);
    }
    let told = sink.told();
    assert!(
        !told.is_empty() && told.iter().all(|finding| finding.kind == Kind::DnsBlockAnswer),
        "{told:#?}"
    );
    assert!(
        told.iter().any(|finding| finding.verdict() >= Some(Verdict::Likely)),
        "{told:#?}"
    );
    assert_eq!(company.told(), []);
}

#[test]
fn a_name_that_spells_its_private_address_is_honest() {
    let mut tap = Tap::used_to(OPERATORS, 6, 57);
    tap.resolve("192-168-7-9.abc.example.com", [192, 168, 7, 9]);
    tap.resolve("127.0.0.1.example.org", [127, 0, 0, 1]);
    assert_eq!(tap.told(), []);
}

#[test]
fn a_network_that_answers_all_names_alike_from_the_start_is_a_captive_portal() {
    let mut tap = Tap::on(OPERATORS);
    for name in [
        "a.example.com",
        "b.example.org",
        "c.example.net",
        "d.example.info",
        "e.example.edu",
    ] {
        tap.resolve(name, [10, 0, 0, 1]);
    }
    let portals: Vec<_> = tap
        .told()
        .into_iter()
        .filter(|finding| finding.kind == Kind::CaptivePortal)
        .collect();
    assert!(!portals.is_empty());
    assert!(portals.iter().all(|finding| finding.verdict() >= Some(Verdict::Likely)));
}
