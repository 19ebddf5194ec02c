//! What resets are told by, each observation at its bounds.

use std::time::Duration;

use super::*;
use crate::detect::trial::Trial;
use crate::finding::evidence::Observation;
use crate::finding::finding::Finding;
use crate::flow::talk::{A, F, R, S, Sent, client, server};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: blocked.example\r\n\r\n";
const ASKED: u32 = 1 + REQUEST.len() as u32;
/// The bits RFC 9293 reserves, and the nonce bit.
const RESERVED: u16 = 0xe00;
const NS: u16 = 0x100;

/// A round trip takes 40 ms to the server and 20 ms to the client, who asks at 100 ms and is heard at 150 ms.
fn asking<'p>() -> Vec<(u64, Sent<'p>)> {
    vec![
        (0, client(S, 0, 0, b"")),
        (40, server(S | A, 0, 1, b"")),
        (60, client(A, 1, 1, b"")),
        (100, client(A, 1, 1, REQUEST)),
        (150, server(A, 1, ASKED, b"")),
    ]
}

/// The same, answered with 20 bytes at 160 ms, which the client acknowledges at 180 ms.
fn answered<'p>() -> Vec<(u64, Sent<'p>)> {
    let mut story = asking();
    story.extend([
        (160, server(A, 1, ASKED, b"twenty bytes of data")),
        (180, client(A, ASKED, 21, b"")),
    ]);
    story
}

/// What is made of the first resets of `sender` after `story`.
fn finding(story: &[(u64, Sent<'_>)], rest: &[(u64, Sent<'_>)], sender: Party) -> Finding {
    let mut trial = Trial::of(RstInjection, 80);
    for (at, sent) in story.iter().chain(rest) {
        trial.show_at(*at, sent);
    }
    let case = match sender {
        Party::Client => &trial.memory.client,
        Party::Server => &trial.memory.server,
    };
    weigh::weigh(
        case.as_deref().expect("a reset"),
        sender,
        &trial.conclusion(Ending::Over),
    )
}

fn keys(finding: &Finding) -> Vec<&'static str> {
    finding.evidence.iter().map(|item| item.observation.key()).collect()
}

#[track_caller]
fn assert_says(key: &str, expected: bool, story: &[(u64, Sent<'_>)], rest: &[(u64, Sent<'_>)]) {
    let sender = rest.iter().find(|(_, sent)| sent.flags & R != 0).expect("a reset").1;
    let sender = if sender.from_client {
        Party::Client
    } else {
        Party::Server
    };
    let keys = keys(&finding(story, rest, sender));
    assert_eq!(keys.contains(&key), expected, "{key}: {keys:?}");
}

/// A reset of the server at 190 ms.
fn reset(seq: u32) -> (u64, Sent<'static>) {
    (190, server(R | A, seq, ASKED, b""))
}

#[test]
fn a_reset_below_fresh_data_is_told() {
    let says = |expected, rest: &[(u64, Sent<'_>)]| assert_says("reset_below_data", expected, &answered(), rest);
    says(true, &[reset(20)]);
    says(true, &[reset(1)]);
    says(false, &[reset(21)]);
    says(true, &[(2160, reset(20).1)]);
    says(false, &[(2161, reset(20).1)]);
    // It went back to its first byte: what is above is not its last.
    let again = (185, server(A, 1, ASKED, b"twenty"));
    says(false, &[again, reset(20)]);
}

#[test]
fn a_reset_ahead_of_its_stream_has_more_than_two_bytes_between() {
    let says = |expected, rest: &[(u64, Sent<'_>)]| assert_says("reset_ahead_of_stream", expected, &answered(), rest);
    says(false, &[reset(23)]);
    says(true, &[reset(24)]);
    // What its peer has acknowledged was sent, whether it was seen or not.
    let heard = (185, client(A, ASKED, 100, b""));
    says(false, &[heard, reset(102)]);
    says(true, &[heard, reset(103)]);
    assert_says("reset_ahead_of_stream", false, &asking(), &[reset(900)]);
}

#[test]
fn a_sender_that_sends_on_contradicts_its_reset() {
    let more = |at, seq| (at, server(A, seq, ASKED, b"more"));
    let says = |key, expected, rest: &[(u64, Sent<'_>)]| assert_says(key, expected, &answered(), rest);
    says("data_after_reset", true, &[reset(21), more(200, 21)]);
    says("sender_went_on", false, &[reset(21), more(200, 21)]);
    says("sender_went_on", true, &[reset(21), more(200, 21), more(210, 25)]);
    says("data_after_reset", false, &[reset(21), more(200, 21), more(210, 25)]);
    // It ends where the reset lies, or a byte behind.
    says("data_after_reset", false, &[reset(21), more(200, 17)]);
    says("data_after_reset", true, &[reset(21), more(200, 18)]);
    let near = CONTRADICTS_WITHIN.as_millis() as u64;
    says("data_after_reset", true, &[reset(21), more(190 + near, 21)]);
    says("data_after_reset", false, &[reset(21), more(191 + near, 21)]);
    let ack = (200, server(A, 25, ASKED, b""));
    says("data_after_reset", false, &[reset(21), ack]);
    // An end before the reset explains what comes after.
    let end = (185, server(F | A, 21, ASKED, b""));
    says("data_after_reset", false, &[end, reset(22), more(200, 22)]);
    let gone = (185, client(R, ASKED, 0, b""));
    assert!(
        !keys(&finding(&answered(), &[gone, reset(21), more(200, 21)], Party::Server)).contains(&"data_after_reset")
    );
    let found = finding(&answered(), &[reset(21), more(200, 21)], Party::Server);
    assert_eq!(found.genuine.len(), 1);
    assert_eq!(found.genuine[0].in_file(), 9);
}

#[test]
fn a_syn_that_is_refused_and_accepted_is_told() {
    let syn = [(0, client(S, 0, 0, b""))];
    let refused = (10, server(R | A, 0, 1, b""));
    let accepted = (40, server(S | A, 0, 1, b""));
    assert_says("syn_ack_after_reset", true, &syn, &[refused, accepted]);
    assert_says("refused_connection", false, &syn, &[refused, accepted]);
    assert_says("refused_connection", true, &syn, &[refused]);
    assert_says(
        "syn_ack_after_reset",
        false,
        &syn,
        &[refused, (20, client(S, 0, 0, b"")), accepted],
    );
    assert_says(
        "syn_ack_after_reset",
        false,
        &syn,
        &[refused, (40, server(S | A, 0, 2, b""))],
    );
    let found = finding(&syn, &[refused], Party::Server);
    assert_eq!(found.injector.unwrap().refused_after, Some(Duration::from_millis(10)));
    let found = finding(&answered(), &[reset(21)], Party::Server);
    assert_eq!(found.injector.unwrap().refused_after, None);
}

#[test]
fn resets_that_step_through_the_window_are_told() {
    let by = |at, seq| (at, server(R | A, seq, ASKED, b""));
    let says = |expected, rest: &[(u64, Sent<'_>)]| assert_says("reset_sequence_jump", expected, &answered(), rest);
    says(true, &[by(190, 21), by(191, 24)]);
    says(false, &[by(190, 21), by(191, 23)]);
    says(true, &[by(190, 21), by(2189, 1481)]);
    says(false, &[by(190, 21), by(2190, 1481)]);
    says(false, &[by(190, 1481), by(191, 21)]);
    // Not past all that was acknowledged.
    says(false, &[(185, client(A, ASKED, 100, b"")), by(190, 21), by(191, 102)]);
    says(true, &[(185, client(A, ASKED, 100, b"")), by(190, 21), by(191, 103)]);
    // Not past all that was sent.
    says(false, &[by(190, 10), by(191, 20)]);
}

#[test]
fn acknowledgements_that_change_within_a_burst_are_told() {
    let acks = |at, ack| (at, server(R | A, 21, ack, b""));
    let says = |expected, rest: &[(u64, Sent<'_>)]| assert_says("reset_ack_change", expected, &answered(), rest);
    says(true, &[acks(190, ASKED), acks(191, ASKED + 1460)]);
    says(false, &[acks(190, ASKED), acks(191, ASKED)]);
    // What the client last sent, or asked, explains it.
    says(false, &[acks(190, ASKED + 9), acks(191, ASKED)]);
    says(false, &[acks(190, ASKED + 9), acks(191, 1)]);
    says(true, &[acks(190, ASKED), acks(2189, ASKED + 9)]);
    says(false, &[acks(190, ASKED), acks(2190, ASKED + 9)]);
    says(false, &[acks(190, ASKED), (191, server(R, 21, ASKED + 9, b""))]);
    says(false, &[(190, server(R, 21, ASKED, b"")), acks(191, ASKED + 9)]);
    says(
        false,
        &[
            acks(190, ASKED),
            (191, client(A, ASKED, 21, b"more")),
            acks(192, ASKED + 9),
        ],
    );
}

#[test]
fn a_reset_repeated_as_data_are_is_a_stacks_own() {
    let at = |times: &[u64]| times.iter().map(|at| (*at, reset(21).1)).collect::<Vec<_>>();
    let says = |expected, rest: &[(u64, Sent<'_>)]| assert_says("reset_retransmitted", expected, &answered(), rest);
    says(true, &at(&[200, 400, 800, 1600]));
    says(false, &at(&[200, 400, 800]));
    says(true, &at(&[200, 350, 620, 1000]));
    says(false, &at(&[200, 349, 500, 650]));
    says(false, &at(&[200, 400, 600, 800]));
    // Twice as long, but for what a timer is off: 1.7 to 2.4 times.
    says(true, &at(&[200, 400, 740, 1080]));
    says(false, &at(&[200, 400, 739, 1078]));
    says(true, &at(&[200, 400, 880, 1360]));
    says(false, &at(&[200, 400, 881, 1362]));
    // No pause is much shorter than the one before.
    says(true, &at(&[200, 400, 800, 1160]));
    says(false, &at(&[200, 400, 800, 1159]));
    // The peer said something that they may answer.
    let mut story = at(&[200, 400, 800, 1600]);
    story.insert(2, (500, client(A, ASKED, 21, b"more")));
    says(false, &story);
    let other = server(R | A, 22, ASKED, b"");
    says(
        false,
        &[
            (200, reset(21).1),
            (400, reset(21).1),
            (800, other),
            (1600, reset(21).1),
        ],
    );
}

#[test]
fn a_ttl_two_off_is_another_box_and_one_off_another_path() {
    let from = |ttl| (190, reset(21).1.ttl(ttl));
    for (ttl, differs) in [(50, false), (51, false), (49, false), (52, true), (48, true)] {
        assert_says("reset_ttl_differs", differs, &answered(), &[from(ttl)]);
    }
    // The server's ids count up, and this one does not.
    assert_says("marks_as_usual", true, &answered(), &[from(50)]);
    assert_says("ttl_as_usual", false, &answered(), &[from(50)]);
    assert_says("ttl_as_usual", true, &answered(), &[(190, reset(21).1.id(40_000))]);
    assert_says("marks_as_usual", false, &answered(), &[(190, reset(21).1.id(40_000))]);
    // One packet shows no habit.
    let opened = &asking()[..4];
    assert_says(
        "ttl_as_usual",
        false,
        opened,
        &[(150, server(R | A, 1, ASKED, b"").id(40_000))],
    );
    assert_says(
        "two_kinds_of_reset",
        true,
        &answered(),
        &[from(44), (195, reset(21).1.ttl(51))],
    );
    assert_says(
        "two_kinds_of_reset",
        false,
        &answered(),
        &[from(44), (195, reset(21).1.ttl(52))],
    );
    assert_says(
        "two_kinds_of_reset",
        false,
        &answered(),
        &[from(51), (195, reset(21).1.ttl(50))],
    );
}

#[test]
fn an_id_taken_from_the_trigger_is_told() {
    let with = |id| (190, reset(21).1.id(id));
    // The request was the client's third packet, its acknowledgement the fourth: 103 and 104.
    for (id, copied) in [(102, false), (103, true), (104, true), (105, true), (106, false)] {
        assert_says("ip_id_copied_from_trigger", copied, &answered(), &[with(id)]);
    }
    let found = finding(&answered(), &[with(105)], Party::Server);
    let copied = Observation::IpIdCopiedFromTrigger { ip_id: 105, offset: 1 };
    assert!(found.evidence.iter().any(|item| item.observation == copied));
}

#[test]
fn a_link_address_of_its_own_stands_against_three_packets() {
    let from = |link| (190, reset(21).1.link(link));
    assert_says("link_source_differs", true, &answered(), &[from(9)]);
    assert_says("link_source_differs", false, &answered(), &[from(2)]);
    assert_says("link_source_differs", false, &asking(), &[from(9)]);
}

#[test]
fn bits_no_stack_sets_are_told() {
    let with = |flags, ack| (190, server(flags, 21, ack, b""));
    assert_says("ack_without_flag", true, &answered(), &[with(R, 7)]);
    assert_says("ack_without_flag", false, &answered(), &[with(R, 0)]);
    assert_says("ack_without_flag", false, &answered(), &[with(R | A, 7)]);
    assert_says(
        "ack_without_flag",
        false,
        &answered(),
        &[(190, client(R, ASKED, 7, b""))],
    );
    assert_says("reserved_bits", true, &answered(), &[with(R | A | 0x200, ASKED)]);
    assert_says("reserved_bits", false, &answered(), &[with(R | A | NS, ASKED)]);
}

#[test]
fn a_reset_is_too_fast_at_less_than_half_a_round_trip() {
    let opened = &asking()[..4];
    let at = |at| (at, server(R | A, 1, ASKED, b""));
    assert_says("too_fast", true, opened, &[at(119)]);
    assert_says("too_fast", false, opened, &[at(120)]);
    // A round trip and a fifth, and 5 ms: 53.
    assert_says("reset_right_after_trigger", true, opened, &[at(153)]);
    assert_says("reset_right_after_trigger", false, opened, &[at(154)]);
    assert_says("reset_right_after_trigger", false, &answered(), &[(190, reset(21).1)]);
    // Over less than 4 ms nothing is measured.
    let near = |trip: u64| -> Vec<(u64, Sent<'static>)> {
        vec![
            (0, client(S, 0, 0, b"")),
            (trip, server(S | A, 0, 1, b"")),
            (20, client(A, 1, 1, b"")),
            (100, client(A, 1, 1, REQUEST)),
        ]
    };
    assert_says("too_fast", true, &near(4), &[at(101)]);
    assert_says("too_fast", false, &near(4), &[at(102)]);
    assert_says("too_fast", false, &near(3), &[at(101)]);
    // A client takes back what it just asked: seen at the server.
    let abort = |at| (at, client(R, ASKED, 0, b""));
    assert_says("abort_before_answer", true, opened, &[abort(109)]);
    assert_says("abort_before_answer", false, opened, &[abort(110)]);
    assert_says("too_fast", false, opened, &[abort(109)]);
    assert_says("reset_right_after_trigger", false, opened, &[abort(109)]);
}

#[test]
fn what_ends_flows_by_itself_is_told() {
    let end = (185, server(F | A, 21, ASKED, b""));
    assert_says("after_fin", true, &answered(), &[end, reset(22)]);
    assert_says("after_fin", false, &answered(), &[reset(21)]);
    assert_says("peer_reset_first", false, &answered(), &[reset(21)]);
    let gone = (185, client(R, ASKED, 0, b""));
    assert!(keys(&finding(&answered(), &[gone, reset(21)], Party::Server)).contains(&"peer_reset_first"));
    assert_says("idle_before", true, &answered(), &[(5180, reset(21).1)]);
    assert_says("idle_before", false, &answered(), &[(5179, reset(21).1)]);
    assert_says("exchange_complete", true, &answered(), &[reset(21)]);
    assert_says("exchange_complete", false, &asking(), &[reset(1)]);
    assert_says(
        "exchange_complete",
        false,
        &answered(),
        &[reset(21), (200, server(A, 21, ASKED, b"more"))],
    );
    assert_says("client_abort", true, &answered(), &[(190, client(R, ASKED, 0, b""))]);
    assert_says("client_abort", false, &answered(), &[reset(21)]);
    // Where no request can be read, data that followed the client's are an answer, and a banner is none.
    let opened = &asking()[..3];
    let (word, reply) = ((100, client(A, 1, 1, b"hello")), (150, server(A, 1, 6, b"welcome")));
    assert_says(
        "exchange_complete",
        true,
        opened,
        &[word, reply, (190, server(R | A, 8, 6, b""))],
    );
    assert_says(
        "exchange_complete",
        false,
        opened,
        &[reply, (190, server(R | A, 8, 1, b""))],
    );
    assert_says(
        "exchange_complete",
        false,
        opened,
        &[word, (190, server(R | A, 1, 6, b""))],
    );
    // A request that was not answered yet.
    let again = (185, client(A, ASKED, 21, REQUEST));
    assert_says("exchange_complete", false, &answered(), &[again, reset(21)]);
}

#[test]
fn a_burst_is_more_resets_than_packets_they_may_answer() {
    let at = |times: &[u64]| times.iter().map(|at| (*at, reset(21).1)).collect::<Vec<_>>();
    // Two of the client's packets may be on their way when the first comes.
    assert_says("burst", false, &answered(), &at(&[190]));
    let quiet = |times: &[u64]| at(&times.iter().map(|at| at + 400).collect::<Vec<_>>());
    assert_says("burst", true, &answered(), &quiet(&[0, 50]));
    assert_says("burst", false, &answered(), &quiet(&[0, 51]));
    let between = |story: &mut Vec<(u64, Sent<'static>)>| story.insert(1, (595, client(A, ASKED, 21, b"more")));
    let mut story = quiet(&[190, 210]);
    between(&mut story);
    assert_says("burst", false, &answered(), &story);
    let found = finding(&answered(), &quiet(&[0, 10, 20, 900]), Party::Server);
    let within = Duration::from_millis(20);
    assert!(
        found
            .evidence
            .iter()
            .any(|item| item.observation == Observation::Burst { count: 3, within })
    );
    assert_eq!(found.forged.len(), 4, "the fourth has the marks of the others");
}

/// The names of the devices told for sure, and only probably.
fn devices(rest: &[(u64, Sent<'_>)]) -> (Option<&'static str>, Option<&'static str>) {
    let found = finding(&answered(), rest, Party::Server);
    let mut told = (None, None);
    for item in &found.evidence {
        match item.observation {
            Observation::KnownDevice(device) => told.0 = Some(device.name),
            Observation::ProbableDevice(device) => told.1 = Some(device.name),
            _ => {}
        }
    }
    told
}

#[test]
fn devices_are_known_by_their_constants() {
    let plain = |id| server(R, 21, 0, b"").id(id);
    let one = |sent: Sent<'_>| devices(&[(190, sent)]);
    let turkmen = plain(30_000).window(0);
    let name = Some("Turkmenistan's national filter");
    for (ttl, told) in [(64, None), (65, name), (128, name), (129, None)] {
        assert_eq!(one(turkmen.ttl(ttl)).0, told, "{ttl}");
    }
    assert_eq!(one(turkmen.ttl(70).window(1)).0, None);
    assert_eq!(one(turkmen.ttl(70).unfragmented()).0, None);
    assert_eq!(one(plain(30_001).window(0).ttl(70)).0, None);
    assert_eq!(one(server(R | A, 21, ASKED, b"").id(30_000).window(0).ttl(70)).0, None);

    const DIGITS: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 0];
    let henan = |flags, payload| one(server(flags, 21, ASKED, payload)).0;
    assert_eq!(henan(R | A, DIGITS), Some("Henan firewall"));
    assert_eq!(henan(R | A, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]), None);
    assert_eq!(henan(R | A, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]), None);
    assert_eq!(one(server(R, 21, 0, DIGITS)).0, None);

    let bits = |flags| one(server(flags, 21, ASKED, b"")).0;
    assert_eq!(
        bits(R | A | RESERVED | NS),
        Some("injector with all reserved TCP bits set")
    );
    assert_eq!(bits(R | A | RESERVED), None);
    assert_eq!(bits(R | A | NS), Some("GFW (RST, ACK and ECN nonce bit)"));
    assert_eq!(one(server(R | NS, 21, 0, b"")).0, None);

    // It turns the trigger's number and window round.
    let mirror = |ack, window| one(server(R, 21, ack, b"").window(window)).0;
    let name = Some("injector that reflects the trigger's header");
    assert_eq!(mirror(1, 500), name, "the request's");
    assert_eq!(mirror(ASKED, 500), name, "the last packet's");
    assert_eq!(mirror(ASKED, 501), None);
    assert_eq!(mirror(ASKED + 1, 500), None);
    assert_eq!(one(server(R | A, 21, 1, b"").window(500)).0, None);
    assert_eq!(one(server(R, 21, 1, b"").window(500).unfragmented()).0, None);
}

#[test]
fn devices_are_known_by_the_shape_of_their_bursts() {
    let at = |offsets: &[u32]| -> Vec<(u64, Sent<'static>)> {
        let seq = offsets.iter().map(|by| 21 + by);
        (190..).zip(seq.map(|seq| server(R | A, seq, ASKED, b""))).collect()
    };
    assert_eq!(devices(&at(&[0, 12_503])).0, Some("Sandvine"));
    assert_eq!(devices(&at(&[0, 12_502])).0, None);
    assert_eq!(
        devices(&at(&[0, 1460, 4380])).0,
        Some("GFW (resets at +0, +1460, +4380)")
    );
    assert_eq!(devices(&at(&[0, 1460])), (None, Some("GFW (reset at +1460)")));
    assert_eq!(devices(&at(&[0, 4380])), (None, None));

    let step = |sents: &[Sent<'static>]| devices(&(190..).zip(sents.iter().copied()).collect::<Vec<_>>()).0;
    let lock = |by: u16| server(R | A, 21, ASKED, b"").ttl(60 + by as u8).window(900 + by);
    let name = Some("GFW type 2 (TTL and window in lock-step)");
    assert_eq!(step(&[lock(0), lock(3)]), name);
    assert_eq!(step(&[lock(0), lock(3), lock(7)]), name);
    assert_eq!(step(&[lock(0), lock(3).window(904)]), None);
    assert_eq!(step(&[lock(0), lock(0)]), None, "the TTL stays");
    assert_eq!(step(&[lock(0)]), None);
    assert_eq!(step(&[lock(0), server(R, 21, 0, b"").ttl(63).window(903)]), None);
    let bare = |by: u16| lock(by).window(0);
    assert_eq!(step(&[bare(0), bare(0).ttl(60)]), None);

    let same = server(R | A, 21, ASKED, b"").id(0x77aa).window(900);
    let name = Some("GFW type 2 (identical resets)");
    assert_eq!(step(&[same, same, same]), name);
    assert_eq!(step(&[same, same]), None);
    for other in [
        server(R | A, 22, ASKED, b"").id(0x77aa).window(900),
        server(R | A, 21, ASKED + 1, b"").id(0x77aa).window(900),
        same.window(901),
        same.ttl(51),
        same.id(0x77ab),
    ] {
        assert_eq!(step(&[same, same, other]), None);
    }
    assert_eq!(step(&[same.window(0); 3]), None);
    let apart = |by: u64| devices(&[(190, same), (190 + by, same), (190 + 2 * by, same)]).0;
    assert_eq!(apart(5), name);
    assert_eq!(apart(6), None);
}

#[test]
fn some_constants_are_typical_only() {
    let one = |sent: Sent<'_>| devices(&[(190, sent)]);
    assert_eq!(one(server(R, 21, 0, b"").id(64)).1, Some("GFW (IP id 64)"));
    assert_eq!(one(server(R | A, 21, ASKED, b"").id(64)).1, None);
    assert_eq!(
        one(server(R | A, 21, ASKED, b"").id(16_448)).1,
        Some("Bezeqint's injector (IP id 16448)")
    );
    let crafted = Some("packet-crafting tool or simple DPI (IP id 1)");
    assert_eq!(one(server(R | A, 21, ASKED, b"").id(1)).1, crafted);
    assert_eq!(one(server(R | A, 21, ASKED, b"").id(2)).1, None);
}

#[test]
fn what_resets_have_in_common_is_kept() {
    use crate::finding::habits::{Burst, Varying};
    let habits = |rest: &[(u64, Sent<'_>)]| finding(&answered(), rest, Party::Server).injector.unwrap().habits;
    let one = habits(&[(190, reset(21).1.window(77))]);
    assert_eq!((one.burst, one.ip_id_stays), (Some(Burst::Single), false));
    assert_eq!(habits(&[(190, reset(21).1.window(500))]).window, Some(Varying::Copied));
    assert_ne!(habits(&[(190, reset(21).1.window(501))]).window, Some(Varying::Copied));
    let same = reset(21).1.id(77).window(7);
    let two = habits(&[(190, same), (191, same)]);
    assert_eq!((two.burst, two.ip_id_stays), (Some(Burst::Repeated), true));
    let two = habits(&[(190, same), (191, server(R | A, 22, ASKED, b"").id(78))]);
    assert_eq!((two.burst, two.ip_id_stays), (Some(Burst::Stepped), false));
}
