//! What the detectors of forged streams say of whole conversations: packets are built, judged by a shard as any others,
//! and the findings looked at.

use std::sync::Arc;

use crate::engine::baselines::Baselines;
use crate::engine::shard::Shard;
use crate::finding::finding::{Finding, Kind};
use crate::finding::verdict::Verdict;
use crate::flow::talk::{A, Counters, F, P, R, S, Sent, client, hello, opened, server};
use crate::packet::frame::FrameNumber;

/// Judges the packets, 10 ms apart.
fn judge(packets: &[Sent<'_>]) -> Vec<Finding> {
    let at = (0..).step_by(10);
    judge_at(&at.zip(packets.iter().copied()).collect::<Vec<_>>())
}

/// Judges packets that come at so many milliseconds; an id of 0 is filled in from the sender's counter.
fn judge_at(packets: &[(u64, Sent<'_>)]) -> Vec<Finding> {
    let mut shard = Shard::new(64, Arc::new(Baselines::default()));
    let mut counters = Counters::default();
    for (index, (at, sent)) in packets.iter().enumerate() {
        let bytes = sent.bytes(443, index as u32, &mut counters);
        shard.judge(sent.frame(&bytes, index as u64 + 1, *at));
    }
    shard.end_capture();
    shard.take_findings()
}

fn of(kind: Kind, findings: &[Finding]) -> Option<(Verdict, Vec<u64>)> {
    findings
        .iter()
        .filter(|finding| finding.kind == kind)
        .find_map(|finding| {
            Some((
                finding.verdict()?,
                finding.forged.iter().map(|frame| frame.in_file()).collect(),
            ))
        })
}

#[test]
fn a_command_put_into_an_idle_session_is_found_by_the_desynchronised_ends() {
    let echo = b"rm -rf everything";
    let mut story = opened(&[
        client(A, 1, 1, b"hello"),
        server(A, 1, 6, b"welcome"),
        client(A, 6, 8, b""),
        client(A, 6, 8, b"rm -rf everything").ttl(61).id(0x9999).unstamped(),
        server(A, 8, 23, echo),
    ]);
    story.extend([server(A, 8, 23, echo); 4]);
    let found = of(Kind::PayloadInjection, &judge(&story));
    assert_eq!(found, Some((Verdict::Likely, vec![7])));
}

#[test]
fn a_session_that_goes_on_after_a_strange_segment_is_left_alone() {
    let story = opened(&[
        client(A, 1, 1, b"hello"),
        server(A, 1, 6, b"welcome"),
        client(A, 6, 8, b""),
        client(A, 6, 8, b"more").ttl(61).unstamped(),
        server(A, 8, 10, b"fine"),
        client(A, 10, 12, b"and more"),
    ]);
    assert_eq!(of(Kind::PayloadInjection, &judge(&story)), None);
}

#[test]
fn the_same_bytes_at_several_places_are_a_spray() {
    let text = b"privacy is necessary";
    let story = opened(&[
        client(A, 1, 1, b"hello"),
        server(A, 1, 6, b""),
        server(A, 1, 6, text).id(7002),
        server(A, 2, 6, text).id(7002),
        server(A, 3, 6, text).id(7002),
        client(A, 6, 23, b""),
        server(A, 1, 6, b""),
    ]);
    let (verdict, forged) = of(Kind::PayloadInjection, &judge(&story)).unwrap();
    assert_eq!((verdict, forged), (Verdict::Confirmed, vec![6, 7, 8]));
}

#[test]
fn a_stack_that_changes_its_mind_about_unsent_bytes_is_left_alone() {
    let story = opened(&[
        client(A, 1, 1, b"hello"),
        server(A, 1, 6, b"first version"),
        server(A, 1, 6, b"other version, longer"),
        client(A, 6, 22, b""),
    ]);
    assert_eq!(of(Kind::PayloadInjection, &judge(&story)), None);
}

#[test]
fn repeated_bytes_in_other_segments_are_no_conflict() {
    let story = opened(&[
        client(A, 1, 1, b"one two three"),
        client(A, 1, 1, b"one "),
        client(A, 5, 1, b"two three four"),
        server(A, 1, 19, b"ok"),
    ]);
    assert_eq!(of(Kind::PayloadInjection, &judge(&story)), None);
}

#[test]
fn a_keep_alive_with_another_byte_is_ordinary() {
    let story = opened(&[client(A, 1, 1, b"hello"), server(A, 1, 6, b""), client(A, 5, 1, b"\0")]);
    assert_eq!(of(Kind::PayloadInjection, &judge(&story)), None);
}

#[test]
fn a_rival_syn_ack_that_copies_the_syn_is_forged() {
    let story = [
        client(S, 0, 0, b"").id(0x5dc1),
        server(S | A, 0, 1, b""),
        client(A, 1, 1, b""),
        server(S | A, 90_000_000, 1, b"").id(0x5dc1),
        client(A, 1, 1, b"hello"),
        server(A, 1, 6, b"ok"),
    ];
    let (verdict, forged) = of(Kind::SynAckInjection, &judge(&story)).unwrap();
    assert_eq!((verdict, forged), (Verdict::Confirmed, vec![4]));
}

#[test]
fn a_proxy_that_answers_every_syn_anew_is_ordinary() {
    let story = [
        client(S, 0, 0, b""),
        client(S, 0, 0, b""),
        server(S | A, 0, 1, b"").ttl(248),
        server(S | A, 90_000_000, 1, b"").ttl(248),
        client(A, 1, 1, b"hello"),
        server(A, 1, 6, b"ok"),
        server(A, 3, 6, b"ok"),
    ];
    assert_eq!(of(Kind::SynAckInjection, &judge(&story)), None);
}

#[test]
fn a_syn_ack_that_is_repeated_is_ordinary() {
    let story = opened(&[
        server(S | A, 0, 1, b""),
        client(A, 1, 1, b"hello"),
        server(A, 1, 6, b"ok"),
    ]);
    assert_eq!(of(Kind::SynAckInjection, &judge(&story)), None);
}

#[test]
fn a_fin_its_sender_sends_on_after_is_forged() {
    let story = opened(&[
        client(A, 1, 1, b"hello"),
        server(F | A, 1, 6, b"").ttl(44),
        server(A, 1, 6, b"welcome"),
        server(A, 8, 6, b"and more"),
        client(A, 6, 16, b""),
    ]);
    let (verdict, forged) = of(Kind::FinInjection, &judge(&story)).unwrap();
    assert_eq!((verdict, forged), (Verdict::Confirmed, vec![5]));
}

#[test]
fn a_fin_that_is_repeated_with_its_data_is_ordinary() {
    let story = opened(&[
        client(A, 1, 1, b"hello"),
        server(A, 1, 6, b"welcome"),
        server(F | A, 8, 6, b""),
        server(F | A, 1, 6, b"welcome"),
        client(F | A, 6, 9, b""),
    ]);
    assert_eq!(of(Kind::FinInjection, &judge(&story)), None);
}

const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 112];

#[test]
fn an_alert_that_the_server_hello_contradicts_is_forged() {
    let hello = hello();
    let asked_to = 1 + hello.len() as u32;
    let story = opened(&[
        client(A, 1, 1, &hello),
        server(A, 1, asked_to, ALERT).ttl(44),
        server(
            A,
            1,
            asked_to,
            b"\x16\x03\x03\x00\x2a\x02\x00\x00\x26\x03\x03 and so on, for a while",
        ),
    ]);
    let (verdict, forged) = of(Kind::TlsAlertInjection, &judge(&story)).unwrap();
    assert_eq!((verdict, forged), (Verdict::Confirmed, vec![5]));
}

#[test]
fn a_server_that_refuses_a_name_is_left_alone() {
    let hello = hello();
    let asked_to = 1 + hello.len() as u32;
    let story = opened(&[
        client(A, 1, 1, &hello),
        server(A, 1, asked_to, b""),
        server(A, 1, asked_to, ALERT),
        server(F | A, 8, asked_to, b""),
    ]);
    assert_eq!(of(Kind::TlsAlertInjection, &judge(&story)), None);
}

#[test]
fn a_page_without_a_status_line_is_an_answer_to_a_request_only() {
    let request = b"GET / HTTP/1.1\r\nHost: blocked.example\r\n\r\n";
    let page = b"<html><body>Access to this site is blocked</body></html>";
    let genuine = b"HTTP/1.1 200 OK\r\nDate: Sat, 10 Jan 2026 08:00:00 GMT\r\nServer: nginx\r\nContent-Length: 200\r\n\r\nwelcome";
    let asked_to = 1 + request.len() as u32;
    let forged = |at: u32| server(F | A, at, asked_to, page).ttl(44).id(0x9999).unstamped();
    let story = opened(&[
        client(A, 1, 1, request),
        forged(1),
        server(A, 1, asked_to, genuine),
        server(A, 1 + genuine.len() as u32, asked_to, b"and more"),
    ]);
    assert_eq!(of(Kind::BlockPage, &judge(&story)), Some((Verdict::Confirmed, vec![5])));
    // In the middle of an answer it is a part of that.
    let story = opened(&[
        client(A, 1, 1, request),
        server(A, 1, asked_to, genuine),
        server(A, 1 + genuine.len() as u32, asked_to, page),
    ]);
    assert_eq!(of(Kind::BlockPage, &judge(&story)), None);
}

#[test]
fn the_first_hello_behind_a_forged_alert_is_the_genuine_one() {
    let hello = hello();
    let asked_to = 1 + hello.len() as u32;
    let answer = b"\x16\x03\x03\x00\x2a\x02\x00\x00\x26\x03\x03 and so on, for a while";
    let story = opened(&[
        client(A, 1, 1, &hello),
        server(A, 1, asked_to, ALERT).ttl(44),
        server(A, 1, asked_to, answer),
        server(A, 1, asked_to, answer),
    ]);
    let findings = judge(&story);
    let alert = findings
        .iter()
        .find(|finding| finding.kind == Kind::TlsAlertInjection)
        .unwrap();
    assert_eq!(alert.genuine[0].in_file(), 6, "{:?}", alert.genuine);
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: blocked.example\r\n\r\n";
/// What the client has sent with its request.
const ASKED: u32 = 1 + REQUEST.len() as u32;

/// The frames a finding of `kind` names as dropped.
fn dropped(kind: Kind, packets: &[(u64, Sent<'_>)]) -> Option<Vec<u64>> {
    let findings = judge_at(packets);
    let finding = findings.iter().find(|finding| finding.kind == kind)?;
    Some(finding.dropped.iter().map(|frame| frame.in_file()).collect())
}

/// A connection is made, and the client asks at 30 ms; what follows comes at its own time.
fn asking<'p>(rest: &[(u64, Sent<'p>)]) -> Vec<(u64, Sent<'p>)> {
    let opened = opened(&[client(A, 1, 1, REQUEST)]);
    let mut packets: Vec<_> = (0..).step_by(10).zip(opened).collect();
    packets.extend(rest);
    packets
}

#[test]
fn a_request_repeated_for_two_seconds_is_swallowed() {
    let again = client(A, 1, 1, REQUEST);
    let story = asking(&[(300, again), (900, again), (2030, again)]);
    assert_eq!(dropped(Kind::SilentDrop, &story), Some(vec![4, 5, 6, 7]));
    let story = asking(&[(300, again), (900, again), (2029, again)]);
    assert_eq!(dropped(Kind::SilentDrop, &story), None);
    // A reset is not a try, nor is an acknowledgment.
    for last in [client(R, ASKED, 0, b""), client(A, ASKED, 1, b"")] {
        let story = asking(&[(300, again), (900, again), (2029, again), (4000, last)]);
        assert_eq!(dropped(Kind::SilentDrop, &story), None);
    }
    // Nor is anything swallowed once the server has said a word, or closed.
    for word in [
        server(A, 1, 1, b"x"),
        server(F | A, 1, ASKED, b""),
        server(R, 1, 0, b""),
    ] {
        let story = asking(&[(300, again), (900, word), (2030, again), (5000, again)]);
        assert_eq!(dropped(Kind::SilentDrop, &story), None, "{:x}", word.flags);
    }
    // An acknowledgment alone does not help, and is told.
    let heard = |ack| asking(&[(100, server(A, 1, ack, b"")), (900, again), (2030, again)]);
    for (ack, key) in [(ASKED, "acknowledged_then_silence"), (ASKED - 1, "request_unanswered")] {
        let findings = judge_at(&heard(ack));
        let finding = findings
            .iter()
            .find(|finding| finding.kind == Kind::SilentDrop)
            .unwrap();
        assert_eq!(finding.evidence[0].observation.key(), key);
    }
}

#[test]
fn a_flow_without_its_beginning_shows_no_silence() {
    let again = client(A, 1, 1, REQUEST);
    let whole = asking(&[(300, again), (900, again), (2030, again)]);
    assert!(dropped(Kind::SilentDrop, &whole).is_some());
    assert_eq!(dropped(Kind::SilentDrop, &whole[1..]), None);
    let without_syn_ack = [&whole[..1], &whole[2..]].concat();
    assert_eq!(dropped(Kind::SilentDrop, &without_syn_ack), None);
}

#[test]
fn a_server_that_closes_deaf_is_told() {
    let again = client(A, 1, 1, REQUEST);
    let deaf = server(F | A, 1, 1, b"");
    let findings = judge_at(&asking(&[(300, again), (1000, deaf), (1900, again), (2030, again)]));
    let finding = findings
        .iter()
        .find(|finding| finding.kind == Kind::SilentDrop)
        .unwrap();
    let keys: Vec<_> = finding
        .evidence
        .iter()
        .map(|evidence| evidence.observation.key())
        .collect();
    assert!(keys.contains(&"server_deaf"), "{keys:?}");
    // It heard it after all: it had only been down.
    let story = asking(&[
        (300, again),
        (1000, deaf),
        (1900, again),
        (2030, again),
        (2100, server(A, 2, ASKED, b"")),
    ]);
    assert_eq!(dropped(Kind::SilentDrop, &story), None);
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nwelcome";
/// What the server has sent with its answer.
const ANSWERED: u32 = 1 + ANSWER.len() as u32;

/// The client is answered, and sends more data at 100 ms.
fn answered<'p>(rest: &[(u64, Sent<'p>)]) -> Vec<(u64, Sent<'p>)> {
    let mut story = asking(&[
        (50, server(A, 1, ASKED, ANSWER)),
        (100, client(A, ASKED, ANSWERED, b"more")),
    ]);
    story.extend(rest);
    story
}

#[test]
fn three_tries_within_two_seconds_and_more_are_a_silence() {
    let again = client(A, ASKED, ANSWERED, b"more");
    let story = answered(&[(400, again), (1000, again), (2400, again)]);
    assert_eq!(dropped(Kind::SilentDrop, &story), Some(vec![7, 8, 9]));
    for early in [
        answered(&[(400, again), (1000, again), (2399, again)]),
        answered(&[(400, again), (2400, again)]),
        // A probe of one byte that was heard is none.
        answered(&[
            (400, client(A, ASKED + 3, ANSWERED, b"e")),
            (1000, again),
            (2400, again),
        ]),
    ] {
        assert_eq!(dropped(Kind::SilentDrop, &early), None);
    }
    // The peer is heard again: with data, with an acknowledgment, with its end.
    for word in [
        server(A, ANSWERED, ASKED, b"x"),
        server(A, ANSWERED, ASKED + 4, b""),
        server(F | A, ANSWERED, ASKED, b""),
        server(R, ANSWERED, 0, b""),
    ] {
        let story = answered(&[(400, again), (1000, again), (2400, again), (2500, word)]);
        assert_eq!(dropped(Kind::SilentDrop, &story), None, "{:x}", word.flags);
    }
    // It repeats what it said before: it does not hear either.
    let echo = server(A, 1, ASKED, ANSWER);
    let story = answered(&[(400, again), (1000, again), (1200, echo), (2400, again)]);
    assert!(dropped(Kind::SilentDrop, &story).is_some());
}

#[test]
fn a_silence_after_a_minutes_rest_is_the_networks_forgetting() {
    let again = |at: u64| (at, client(A, ASKED, ANSWERED, b"more"));
    let tries = |after: u64| {
        let mut story = asking(&[(50, server(A, 1, ASKED, ANSWER))]);
        story.extend([
            again(after),
            again(after + 400),
            again(after + 1000),
            again(after + 2400),
        ]);
        dropped(Kind::SilentDrop, &story)
    };
    assert!(tries(60_049).is_some());
    assert_eq!(tries(60_050), None);
}

/// The server has sent `segments` of 1000 bytes, each acknowledged, and repeats the last for good.
fn frozen(segments: u32, tries: &[u64]) -> Vec<(u64, Sent<'static>)> {
    const DATA: &[u8] = &[7; 1000];
    let mut story = asking(&[]);
    for number in 0..segments {
        let at = 100 + 20 * u64::from(number);
        story.push((at, server(A, 1 + number * 1000, ASKED, DATA)));
        story.push((at + 10, client(A, ASKED, 1001 + number * 1000, b"")));
    }
    let last = server(A, 1 + segments * 1000, ASKED, DATA);
    story.push((2000, last));
    story.extend(tries.iter().map(|at| (2000 + at, last)));
    story
}

#[test]
fn a_flow_that_stops_after_ten_kilobytes_and_twenty_packets_is_frozen() {
    let tries = [300, 900, 2300];
    let first = |segments: u32| u64::from(4 + 2 * segments + 2);
    for segments in [10, 16, 40] {
        let expected = (first(segments)..first(segments) + 3).collect();
        assert_eq!(
            dropped(Kind::VolumeFreeze, &frozen(segments, &tries)),
            Some(expected),
            "{segments}"
        );
    }
    // 9 segments and the request are less than 10 000 bytes.
    assert_eq!(dropped(Kind::VolumeFreeze, &frozen(9, &tries)), None);
    assert_eq!(dropped(Kind::VolumeFreeze, &frozen(16, &tries[..2])), None);
    // Its peer has closed, or answers.
    let (at, end) = (4000, 16_001);
    for (word, freezes) in [
        (client(A, ASKED, end, b""), true),
        (client(A, ASKED, end + 1000, b""), false),
        (client(F | A, ASKED, end, b""), false),
        (client(R, ASKED, 0, b""), false),
        (client(A, ASKED, end, b"next"), false),
    ] {
        let mut story = frozen(16, &tries);
        story.push((at + 400, word));
        assert_eq!(
            dropped(Kind::VolumeFreeze, &story).is_some(),
            freezes,
            "{:x}",
            word.flags
        );
    }
}

#[test]
fn a_volume_is_typical_by_its_bytes_or_its_packets() {
    let typical = |segments| {
        let findings = judge_at(&frozen(segments, &[300, 900, 2300]));
        let finding = findings
            .iter()
            .find(|finding| finding.kind == Kind::VolumeFreeze)
            .unwrap();
        let keys: Vec<_> = finding
            .evidence
            .iter()
            .map(|evidence| evidence.observation.key())
            .collect();
        keys.contains(&"freeze_typical_volume")
    };
    // 14 to 34 kB, or 20 to 32 packets; 50 segments are 50 kB in more than 100.
    assert!(typical(10) && typical(16) && typical(33));
    assert!(!typical(35) && !typical(50));
}

#[test]
fn repetitions_count_from_the_twentieth_packet_on() {
    // Ten segments, each acknowledged by the next but one: 4 packets of the opening, 10, and 3.
    const DATA: &[u8] = &[7; 1100];
    let mut story = asking(&[]);
    for number in 0..10 {
        story.push((100 + 20 * u64::from(number), server(A, 1 + number * 1100, ASKED, DATA)));
        if number % 4 == 3 {
            let end = 1 + (number + 1) * 1100;
            story.push((105 + 20 * u64::from(number), client(A, ASKED, end, b"")));
        }
    }
    story.push((400, client(A, ASKED, 1 + 10 * 1100, b"")));
    assert_eq!(story.len(), 17);
    let last = server(A, 1 + 10 * 1100, ASKED, DATA);
    story.push((500, last));
    story.extend((1..8).map(|second| (500 + second * 1000, last)));
    // The 19th and 20th packet repeat too, but so few packets are no volume.
    assert_eq!(dropped(Kind::VolumeFreeze, &story), Some((21..=25).collect()));
}

#[test]
fn the_syn_ack_the_server_goes_on_from_is_genuine() {
    for (goes_on_from, forged) in [(0, 3), (90_000_000, 2)] {
        let story = [
            client(S, 0, 0, b""),
            server(S | A, 0, 1, b""),
            server(S | A, 90_000_000, 1, b"").id(9),
            client(A, 1, goes_on_from + 1, b"hello"),
            server(A, goes_on_from + 1, 6, b"welcome"),
            server(A, goes_on_from + 8, 6, b"and more"),
        ];
        let findings = judge(&story);
        let finding = findings
            .iter()
            .find(|finding| finding.kind == Kind::SynAckInjection)
            .unwrap();
        let frames = |list: &[FrameNumber]| list.iter().map(|frame| frame.in_file()).collect::<Vec<_>>();
        assert_eq!(frames(&finding.forged), [forged]);
        assert_eq!(frames(&finding.genuine), [5 - forged]);
        let goes_on = finding
            .evidence
            .iter()
            .find(|item| item.observation.key() == "goes_on_from_the_other");
        assert_eq!(frames(&goes_on.unwrap().frames), [5]);
    }
}

/// The segments of 1000 bytes a server sends, from `first` on, each acknowledged.
fn sending(first: u32, last: u32, data: &[u8]) -> Vec<Sent<'_>> {
    (first..last)
        .flat_map(|number| {
            let at = 1 + number * 1000;
            [server(A, at, 6, data), client(A, 6, at + 1000, b"")]
        })
        .collect()
}

#[test]
fn other_bytes_for_the_same_place_are_seen_beyond_what_is_kept_of_a_stream() {
    const DATA: &[u8] = &[7; 1000];
    const OTHER: &[u8] = &[8; 1000];
    let rivals = |again: &Sent<'_>| {
        let mut story = opened(&[client(A, 1, 1, b"hello")]);
        story.extend(sending(0, 20, DATA));
        story.push(*again);
        story.extend(sending(20, 22, DATA));
        of(Kind::PayloadInjection, &judge(&story)).map(|(_, forged)| forged)
    };
    let number = |index: u64| 5 + 2 * index;
    // It came second, and its TTL and IP id are foreign.
    let foreign = server(A, 1 + 18 * 1000, 6, OTHER).ttl(44).id(0x9999).unstamped();
    assert_eq!(rivals(&foreign), Some(vec![number(20)]));
    assert_eq!(rivals(&server(A, 1 + 18 * 1000, 6, DATA)), None, "a repetition");
}

/// The block page told of a request, an answer at 100 ms and what follows.
fn page(rest: &[(u64, Sent<'_>)]) -> Option<Finding> {
    let findings = judge_at(&asking(rest));
    findings.into_iter().find(|finding| finding.kind == Kind::BlockPage)
}

fn keys(finding: &Finding) -> Vec<&'static str> {
    finding.evidence.iter().map(|item| item.observation.key()).collect()
}

#[test]
fn a_page_is_known_by_all_of_its_packets() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 90\r\n\r\n<html><body>";
    const BODY: &[u8] = b"<iframe src=\"http://10.10.34.34?type=Invalid Site&policy=MainPolicy\"></iframe>";
    let behind = 1 + HEAD.len() as u32;
    let found = page(&[
        (100, server(A, 1, ASKED, HEAD)),
        (110, server(A, behind, ASKED, BODY)),
        (120, client(A, ASKED, behind + BODY.len() as u32, b"")),
    ]);
    let found = found.expect("a block page");
    assert!(keys(&found).contains(&"known_block_page"), "{:?}", keys(&found));
    assert!(found.particulars.fingerprint.is_some());
    assert_eq!(found.particulars.http_status, Some(200));
    let ordinary = page(&[
        (100, server(A, 1, ASKED, HEAD)),
        (110, server(A, behind, ASKED, b"welcome to this place")),
    ]);
    assert!(ordinary.is_none());
}

#[test]
fn a_server_that_closes_and_is_not_heard_again_was_not_there() {
    const REFUSED: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let closed = 2 + REFUSED.len() as u32;
    let answer = (100, server(F | A, 1, ASKED, REFUSED));
    let end = client(F | A, ASKED, closed, b"");
    let silent = |rest: &[(u64, Sent<'_>)]| {
        let mut story = vec![answer];
        story.extend(rest);
        page(&story).is_some_and(|found| keys(&found).contains(&"silent_after_answer"))
    };
    assert!(silent(&[(110, end), (400, end), (900, end)]));
    assert!(!silent(&[(110, end), (400, end)]));
    let heard = |at| (at, server(A, closed, ASKED + 1, b""));
    assert!(!silent(&[(110, end), (400, end), (900, end), heard(950)]));
    assert!(!silent(&[heard(105), (110, end), (400, end), (900, end)]));
    // An acknowledgement is no repetition.
    let acks = client(A, ASKED, closed, b"");
    assert!(!silent(&[(110, end), (400, end), (900, acks)]));
}

#[test]
fn a_server_that_goes_on_behind_a_complete_answer_may_have_sent_another() {
    const REFUSED: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    const END: u32 = 1 + REFUSED.len() as u32;
    // Whether it is told that it runs on, and that there is a hole.
    let told = |answer: &str, rest: &[(u64, Sent<'_>)]| {
        let mut story = vec![(100, server(A, 1, ASKED, answer.as_bytes()))];
        story.extend(rest);
        let keys = page(&story).as_ref().map(keys).unwrap_or_default();
        (keys.contains(&"runs_on"), keys.contains(&"hole_behind"))
    };
    let at = |at: u64, beyond: u32| (at, server(A, END + beyond, ASKED, b"the rest"));
    for (what, rest, expected) in [
        ("nothing", &[][..], (false, false)),
        ("the rest", &[at(101, 0)], (true, false)),
        ("what is far behind", &[at(101, 900)], (true, true)),
        ("what was overtaken", &[at(101, 8), at(102, 0)], (true, false)),
        ("what is sent again", &[at(101, 8), at(300, 0)], (true, true)),
        (
            "what the capture missed",
            &[at(101, 8), (110, client(A, ASKED, END + 16, b""))],
            (true, false),
        ),
        ("its close", &[(101, server(F | A, END, ASKED, b""))], (false, false)),
        (
            "a close far behind",
            &[(101, server(F | A, END + 900, ASKED, b""))],
            (true, true),
        ),
        (
            "another answer",
            &[(101, server(A, END, ASKED, b"HTTP/1.1 408 Timeout\r\n\r\n"))],
            (false, false),
        ),
        (
            "an answer to what was asked next",
            &[(101, server(A, END, ASKED + 90, b"the rest"))],
            (false, false),
        ),
    ] {
        assert_eq!(told(REFUSED, rest), expected, "{what}");
    }
    for (what, glued, expected) in [
        ("the rest", "the rest", (true, false)),
        ("an empty line", "\r\n", (false, false)),
        ("another answer", "HTTP/1.1 408 Timeout\r\n\r\n", (false, false)),
    ] {
        assert_eq!(told(&format!("{REFUSED}{glued}"), &[]), expected, "{what}, glued to it");
    }
    let rest = [at(101, 900)];
    for (what, answer) in [
        ("names itself", REFUSED.replace("Content", "Server: a\r\nContent")),
        ("serves", REFUSED.replace("403 Forbidden", "200 OK")),
        ("announces more", REFUSED.replace(": 0", ": 9")),
        ("announces nothing", REFUSED.replace("Content-Length: 0\r\n", "")),
    ] {
        assert_eq!(told(&answer, &rest), (false, false), "one that {what}");
    }
}

#[test]
fn a_device_is_known_by_the_packet_its_page_comes_in() {
    const ELSEWHERE: &[u8] = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://notice.example.net/\r\n\r\n";
    let known = |answer: Sent<'_>| {
        let found = page(&[(100, answer)]);
        let keys = found.as_ref().map(keys).unwrap_or_default();
        (keys.contains(&"known_device"), keys.contains(&"probable_device"))
    };
    let answer = |flags| server(flags, 1, ASKED, ELSEWHERE);
    assert_eq!(known(answer(F | A).id(0x3412)), (true, false));
    assert_eq!(known(answer(F | A | P).id(0x3412)), (false, false));
    assert_eq!(known(answer(A).id(0x3412)), (false, false));
    assert_eq!(known(answer(F | A).id(0x3413)), (false, false));
    assert_eq!(known(answer(F | A).id(242)), (false, true));
    assert_eq!(known(answer(A).id(242)), (false, false));
}

#[test]
fn an_answer_that_came_too_soon_or_heard_nothing_is_told() {
    const REFUSED: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    // The handshake took 10 ms; the client asks at 30 ms.
    let told = |at: u64, ack: u32| {
        let answer = server(F | A, 1, ack, REFUSED).ttl(44).id(0x9999).unstamped();
        page(&[(at, answer)]).map(|found| {
            let keys = keys(&found);
            let is = |key| keys.contains(&key);
            (is("faster_than_handshake"), is("answer_without_acknowledging"))
        })
    };
    assert_eq!(told(34, ASKED), Some((true, false)));
    assert_eq!(told(35, ASKED), Some((false, false)));
    assert_eq!(told(60, 1), Some((false, true)));
    assert_eq!(told(60, ASKED - 1), Some((false, false)), "some of it was heard");
}
