//! One finding as a block of text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::super::balance::{Balance, Weighed};
use super::super::escape::{escaped, escaped_path, shell_word};
use super::super::figures::{moment, probability};
use super::super::sink::Reported;
use super::page::{CYAN, FAINT, GREEN, Page, RED, STRONG, YELLOW, columns, paint};
use crate::capture::source::Origin;
use crate::finding::finding::{
    Application, Conversation, Finding, Injector, Kind, Manner, Party, Position, Stage, Trigger, TriggerKind,
};
use crate::finding::verdict::Verdict;
use crate::packet::frame::FrameNumber;
use crate::packet::packet::readable;

/// How many frame numbers are named where there may be many; the records have all of them.
const MOST_NAMED: usize = 8;
/// How many frames the line for `tshark` picks out.
const MOST_CHECKED: usize = 40;

/// Writes the block of a finding with this verdict.
pub(super) fn block(page: &mut Page, reported: &Reported<'_>, verdict: Verdict) {
    let finding = reported.finding;
    page.wrapped("", &headline(finding, verdict));
    page.gap();
    page.wrapped("  ", &account(finding, verdict));
    page.gap();
    page.field("flow", &flow(&finding.conversation));
    page.field("when", &when(reported));
    if let Some(text) = stage(finding) {
        page.field("stage", &text);
    }
    page.field("box", &the_box(finding));
    if let Some(device) = finding.injector.as_ref().and_then(|injector| injector.device) {
        page.field(
            "device",
            &format!(
                "marks of {}, as described by {}",
                escaped(device.name),
                escaped(device.source)
            ),
        );
    }
    particulars(page, finding);
    packets(page, reported);
    page.gap();
    evidence(page, reported);
    page.gap();
    check(page, reported);
    page.gap();
}

fn headline(finding: &Finding, verdict: Verdict) -> String {
    let style = match verdict {
        Verdict::Confirmed => RED,
        Verdict::Likely => YELLOW,
        Verdict::Possible => CYAN.bold(),
    };
    let mut text = format!(
        "{}  {}",
        paint(style, verdict.key().to_uppercase()),
        paint(STRONG, finding.kind.headline())
    );
    match finding
        .trigger
        .as_ref()
        .and_then(|trigger| Some((trigger, trigger.name.as_deref()?)))
    {
        Some((trigger, name)) => {
            let _ = write!(
                text,
                "  {} ({})",
                paint(STRONG, escaped(name)),
                field_name(trigger.kind)
            );
        }
        None => {
            let _ = write!(text, "  {} (no name seen)", finding.conversation.server);
        }
    }
    text
}

const fn field_name(kind: TriggerKind) -> &'static str {
    match kind {
        TriggerKind::Host => "HTTP Host",
        TriggerKind::Sni => "TLS server name",
        TriggerKind::Qname => "DNS question",
        TriggerKind::Packet => "packet",
    }
}

fn flow(conversation: &Conversation) -> String {
    let Conversation {
        client,
        server,
        protocol,
        application,
        vlan,
        ..
    } = conversation;
    let protocol = protocol.key();
    let carries = match application {
        Application::Unknown => protocol.to_owned(),
        Application::Http => format!("HTTP over {protocol}"),
        Application::Tls => format!("TLS over {protocol}"),
        Application::Dns => format!("DNS over {protocol}"),
    };
    let vlan = vlan.map(|id| format!(", VLAN {id}")).unwrap_or_default();
    format!("{client} → {server}, {carries}{vlan}")
}

fn when(reported: &Reported<'_>) -> String {
    let finding = reported.finding;
    format!(
        "{}, frame {} of {}",
        moment(finding.at),
        finding.decided_by.in_file(),
        file_name(reported, finding.decided_by)
    )
}

fn file_name(reported: &Reported<'_>, frame: FrameNumber) -> String {
    match reported.files.get(frame.file() as usize) {
        Some(file) if file.path.as_os_str() == "-" => "standard input".to_owned(),
        Some(file) => escaped_path(&file.path),
        None => "?".to_owned(),
    }
}

/// What happened, in a sentence or two.
fn account(finding: &Finding, verdict: Verdict) -> String {
    let sender = match finding.claimed_sender {
        Some(Party::Client) => "the client",
        Some(Party::Server) => match finding.kind {
            Kind::DnsInjection => "the DNS server",
            _ => "the server",
        },
        None => "one end",
    };
    let doubt = match verdict {
        Verdict::Confirmed => "did not send it",
        Verdict::Likely => "most likely did not send it",
        Verdict::Possible => "may not have sent it",
    };
    let came = |what| format!("{what} in the name of {sender}, and {sender} {doubt}.");
    let what = match finding.kind {
        Kind::RstInjection => came("A TCP reset, which ends the connection, came"),
        Kind::DnsInjection => came("A DNS answer came"),
        Kind::BlockPage => came("An HTTP answer came"),
        Kind::PayloadInjection => came("Data came"),
        Kind::FinInjection => came("A FIN, which ends the stream, came"),
        Kind::SynAckInjection => came("A SYN-ACK, which accepts a connection, came"),
        Kind::TlsAlertInjection => came("A TLS alert, which ends the session, came"),
        Kind::TlsInterception => {
            "TLS was answered by someone between the client and the server, under a certificate of their own."
                .to_owned()
        }
        Kind::IpBlackhole => "Connections to this address draw no reaction, while others work.".to_owned(),
        Kind::ResidualBlock => {
            "After a flow that set the box off, other flows of the same hosts were blocked for a time.".to_owned()
        }
        Kind::QuicDrop => "The QUIC handshake drew no reaction, or died after it began.".to_owned(),
        Kind::DnsBlockAnswer => "The resolver itself gave an answer that blocks the name.".to_owned(),
        Kind::IcmpProhibited => "An ICMP error said that this flow is administratively prohibited.".to_owned(),
        Kind::Throttling => "The flow was slowed down, unlike others at the same time.".to_owned(),
        Kind::VolumeFreeze => "The flow was healthy, then froze after a certain volume.".to_owned(),
        Kind::CaptivePortal => {
            "Everything was answered by the network itself, as before a login. This is no censorship.".to_owned()
        }
        Kind::Shutdown => "Almost all foreign networks became unreachable at once, while others worked.".to_owned(),
        Kind::SilentDrop => {
            let sure = match verdict {
                Verdict::Confirmed => "was",
                Verdict::Likely => "was most likely",
                Verdict::Possible => "may have been",
            };
            format!("The connection was made, and the client's request {sure} swallowed on the way: nothing came back.")
        }
    };
    let name = finding.trigger.as_ref().and_then(|trigger| trigger.name.as_deref());
    let means = match name {
        // Until one logs in, every name is answered so.
        _ if finding.kind == Kind::CaptivePortal => return what,
        Some(name) => format!(
            "This behaviour is compatible with filtering of the name {}.",
            paint(STRONG, escaped(name))
        ),
        None => "This behaviour is compatible with filtering on the way.".to_owned(),
    };
    format!("{what} {means}")
}

fn stage(finding: &Finding) -> Option<String> {
    let words = finding.stage.map(|stage| match stage {
        Stage::PostSyn => "after the client's SYN, before the handshake was complete",
        Stage::PostAck => "after the handshake, before any data",
        Stage::PostPsh => "after the first data packet",
        Stage::LaterInFlow => "after several data packets",
    });
    match (words, finding.signature) {
        (None, None) => None,
        (Some(words), None) => Some(words.to_owned()),
        (None, Some(signature)) => Some(signature.to_owned()),
        (Some(words), Some(signature)) => Some(format!("{words}: {signature}")),
    }
}

/// Whether whoever interfered said so in their own name.
const fn speaks_for_itself(finding: &Finding) -> bool {
    matches!(
        finding.kind,
        Kind::DnsBlockAnswer | Kind::CaptivePortal | Kind::IcmpProhibited
    ) && finding.claimed_sender.is_none()
}

fn the_box(finding: &Finding) -> String {
    let position = match finding.position {
        Position::Unknown if speaks_for_itself(finding) => "speaks in its own name",
        Position::OnPath => "on-path (it sees a copy of the traffic and adds packets; the genuine ones arrive as well)",
        Position::InPath => "in-path (the traffic goes through it, and it held back or rewrote the genuine packets)",
        Position::Unknown => "on-path or in-path, the capture cannot tell",
    };
    let id = finding.injector.as_ref().and_then(|injector| injector.id);
    let id = id.map(|id| format!("injector {id}, ")).unwrap_or_default();
    format!("{id}{position}; {}", distance(finding.injector.as_ref()))
}

fn distance(injector: Option<&Injector>) -> String {
    let Some(injector) = injector else {
        return "its distance is unknown".to_owned();
    };
    if injector.mirrors_ttl {
        return "its distance is unknown: it mirrors the TTL of the packet it answers".to_owned();
    }
    let hops = match injector.hops_from_tap {
        Some((0, 0)) => "no hop away, in the network the tap is in".to_owned(),
        Some((1, 1)) => "about 1 hop from the tap".to_owned(),
        Some((least, most)) if least == most => format!("about {least} hops from the tap"),
        Some((least, most)) => format!("{least} to {most} hops from the tap"),
        None => "its distance is unknown".to_owned(),
    };
    match (injector.initial_ttl, injector.hops_from_tap) {
        (Some(initial), Some((least, most))) if least == most && least <= initial => {
            format!("{hops} (its TTL {} suggests it started at {initial})", initial - least)
        }
        (Some(initial), _) => format!("{hops} (its packets most likely start with TTL {initial})"),
        (None, _) => match injector.arrival_ttl {
            Some(ttl) => format!("{hops} (its packets arrive with TTL {ttl})"),
            None => hops,
        },
    }
}

fn particulars(page: &mut Page, finding: &Finding) {
    let particulars = &finding.particulars;
    let list = |answers: &[String]| match answers {
        [] => "nothing".to_owned(),
        answers => {
            let mut text = answers
                .iter()
                .take(MOST_NAMED)
                .map(|answer| escaped(answer))
                .collect::<Vec<_>>()
                .join(", ");
            if answers.len() > MOST_NAMED {
                let _ = write!(text, " and {} more", answers.len() - MOST_NAMED);
            }
            text
        }
    };
    match (&particulars.forged_answers[..], &particulars.genuine_answers[..]) {
        ([], []) => {}
        (given, []) if speaks_for_itself(finding) => {
            page.field("answers", &format!("given: {}", paint(RED, list(given))))
        }
        (forged, []) => page.field("answers", &format!("forged: {}", paint(RED, list(forged)))),
        (forged, genuine) => page.field(
            "answers",
            &format!(
                "forged: {}; genuine: {}",
                paint(RED, list(forged)),
                paint(GREEN, list(genuine))
            ),
        ),
    }
    match (particulars.http_status, particulars.location.as_deref().map(escaped)) {
        (None, None) => {}
        (Some(status), None) => page.field("answer", &format!("status {status}")),
        (None, Some(location)) => page.field("answer", &format!("leads to {location}")),
        (Some(status), Some(location)) => page.field("answer", &format!("status {status}, leads to {location}")),
    }
    if let Some(volume) = particulars.volume {
        page.field(
            "volume",
            &format!("{} bytes in {} packets had passed", volume.bytes, volume.packets),
        );
    }
    if let Some(throttle) = particulars.throttle {
        let how = match throttle.manner {
            Manner::Policing => "what exceeds the rate is dropped",
            Manner::Shaping => "what exceeds the rate waits",
        };
        page.field(
            "rate",
            &format!(
                "{} kbit/s of payload after a burst of {} bytes; {how}",
                throttle.kbit_s, throttle.burst
            ),
        );
    }
    if let Some(residual) = particulars.residual {
        page.field(
            "residual",
            &format!(
                "bound to the {}-tuple; longer than {}, at most {}",
                residual.tuple.size(),
                readable(residual.failed),
                readable(residual.worked)
            ),
        );
    }
    if let Some(tls) = &particulars.tls {
        let issued = |what: &str, name: &Option<String>| match name {
            Some(name) => format!(", {what} {}", escaped(name)),
            None => String::new(),
        };
        page.field(
            "session",
            &format!(
                "{}{}{}",
                tls.version,
                issued("certificate for", &tls.subject),
                issued("issued by", &tls.issuer)
            ),
        );
    }
    if let Some(row) = &particulars.fingerprint {
        let known = row
            .known_from
            .as_deref()
            .map(|place| format!(", known from {}", escaped(place)));
        let place = row
            .place
            .as_ref()
            .map(|place| format!("; line {} of {}", place.line, escaped(&place.file)));
        let url = row.url.as_deref().map(|url| format!("; {}", escaped(url)));
        page.field(
            "matches",
            &format!(
                "{}{} ({}{}{})",
                escaped(&row.id),
                known.unwrap_or_default(),
                escaped(&row.source),
                place.unwrap_or_default(),
                url.unwrap_or_default()
            ),
        );
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Trigger,
    Forged,
    Genuine,
    Dropped,
}

/// The packets in capture order, a row for each run of the same role.
fn packets(page: &mut Page, reported: &Reported<'_>) {
    let finding = reported.finding;
    let mut cast: Vec<(FrameNumber, Role)> = Vec::new();
    cast.extend(finding.trigger.as_ref().map(|trigger| (trigger.frame, Role::Trigger)));
    cast.extend(finding.forged.iter().map(|frame| (*frame, Role::Forged)));
    cast.extend(finding.genuine.iter().map(|frame| (*frame, Role::Genuine)));
    cast.extend(finding.dropped.iter().map(|frame| (*frame, Role::Dropped)));
    cast.sort_unstable();
    cast.dedup();
    let rows: Vec<(String, Role)> = cast
        .chunk_by(|a, b| a.1 == b.1 && a.0.file() == b.0.file())
        .filter_map(|run| {
            let frames: Vec<FrameNumber> = run.iter().map(|(frame, _)| *frame).collect();
            Some((numbers(reported, &frames)?, run[0].1))
        })
        .collect();
    let widest = rows.iter().map(|(numbers, _)| columns(numbers)).max().unwrap_or(0);
    for (place, (numbers, role)) in rows.iter().enumerate() {
        let label = if place == 0 { "packets" } else { "" };
        let padding = widest - columns(numbers);
        let (name, text) = match role {
            Role::Trigger => (paint(YELLOW, "trigger"), trigger_text(finding.trigger.as_ref())),
            Role::Forged if speaks_for_itself(finding) => {
                (paint(RED, "answer "), "in its sender's own name".to_owned())
            }
            Role::Forged => (paint(RED, "forged "), forged_text(finding.claimed_sender)),
            Role::Genuine => (paint(GREEN, "genuine"), "what was really sent".to_owned()),
            Role::Dropped => (paint(RED, "dropped"), "swallowed on the way".to_owned()),
        };
        page.row(label, &format!("{:padding$}{numbers}  {name}  ", ""), &text);
    }
}

fn trigger_text(trigger: Option<&Trigger>) -> String {
    match trigger.map(|trigger| (trigger.kind, trigger.name.as_deref())) {
        Some((kind, Some(name))) => format!("{} {}", field_name(kind), escaped(name)),
        Some((_, None)) | None => "the packet it answers".to_owned(),
    }
}

fn forged_text(claimed: Option<Party>) -> String {
    match claimed {
        Some(party) => format!("in the name of the {}", party.key()),
        None => "in the name of one end".to_owned(),
    }
}

/// `9, 10`, with the file where it is not that of the deciding packet; none for no frames.
fn numbers(reported: &Reported<'_>, frames: &[FrameNumber]) -> Option<String> {
    let first = frames.first()?;
    let mut text = String::new();
    if first.file() != reported.finding.decided_by.file() {
        let _ = write!(text, "{} ", file_name(reported, *first));
    }
    for (place, frame) in frames.iter().take(MOST_NAMED).enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}{}", frame.in_file());
    }
    if frames.len() > MOST_NAMED {
        let _ = write!(text, " and {} more", frames.len() - MOST_NAMED);
    }
    Some(text)
}

fn evidence(page: &mut Page, reported: &Reported<'_>) {
    let finding = reported.finding;
    let balance = Balance::of(finding);
    weights(page, reported, "for", &balance.supporting);
    weights(page, reported, "against", &balance.opposing);
    let sum = |side: &[Weighed<'_>]| -> f64 {
        let counting = side.iter().filter(|item| item.counts);
        counting.map(|item| item.evidence.llr()).sum()
    };
    let mut text = format!(
        "{:+.1} before looking, {:+.1} for",
        finding.prior.log_odds(),
        sum(&balance.supporting)
    );
    if !balance.opposing.is_empty() {
        let _ = write!(text, ", {:+.1} against", sum(&balance.opposing));
    }
    let _ = write!(
        text,
        ": log-odds {:+.1}, a probability of {}",
        reported.judgement.log_odds,
        paint(STRONG, percent(probability(reported.judgement)))
    );
    let aside = balance
        .supporting
        .iter()
        .chain(&balance.opposing)
        .any(|item| !item.counts);
    if aside {
        text.push_str(" (in brackets: not counted, because a heavier sign of the same sort is)");
    }
    if reported.judgement.verdict == Some(Verdict::Likely) && probability(reported.judgement) >= 0.99 {
        text.push_str("; not confirmed, as none of the signs is proof by itself");
    }
    page.field("together", &text);
}

fn percent(probability: f64) -> String {
    if probability >= 0.999 {
        "over 99.9 %".to_owned()
    } else {
        format!("{:.1} %", probability * 100.0)
    }
}

/// How many columns the heaviest weight takes: the caps lie at 8 nats.
const BAR: usize = 8;

fn weights(page: &mut Page, reported: &Reported<'_>, label: &str, side: &[Weighed<'_>]) {
    for (place, item) in side.iter().enumerate() {
        let llr = item.evidence.llr();
        let length = (llr.abs().round() as usize).clamp(1, BAR);
        let figure = if item.counts {
            format!("{llr:+.1} ")
        } else {
            format!("({llr:+.1})")
        };
        let style = match (item.counts, llr < 0.0) {
            (false, _) => FAINT,
            (true, false) => YELLOW,
            (true, true) => CYAN,
        };
        let bar = format!("{}{:pad$}", paint(style, "█".repeat(length)), "", pad = BAR - length);
        let mut text = item.evidence.observation.to_string();
        if let Some(numbers) = numbers_of_all(reported, &item.evidence.frames) {
            let _ = write!(text, " {}", paint(FAINT, format!("[{numbers}]")));
        }
        let label = if place == 0 { label } else { "" };
        page.row(label, &format!("{figure:>6} {bar} "), &text);
    }
}

/// `frames 9, 10; y.pcap 1`; none for no frames.
fn numbers_of_all(reported: &Reported<'_>, frames: &[FrameNumber]) -> Option<String> {
    let word = match frames {
        [] => return None,
        [_] => "frame",
        _ => "frames",
    };
    let runs: Vec<String> = frames
        .chunk_by(|a, b| a.file() == b.file())
        .filter_map(|run| numbers(reported, run))
        .collect();
    Some(format!("{word} {}", runs.join("; ")))
}

/// A line for each file that shows the packets in question.
fn check(page: &mut Page, reported: &Reported<'_>) {
    let finding = reported.finding;
    let mut by_file: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
    let named = finding.trigger.iter().map(|trigger| trigger.frame);
    let cited = finding.evidence.iter().flat_map(|item| item.frames.iter().copied());
    let listed = [&finding.forged, &finding.genuine, &finding.dropped]
        .into_iter()
        .flatten()
        .copied();
    for frame in [finding.decided_by].into_iter().chain(named).chain(listed).chain(cited) {
        by_file.entry(frame.file()).or_default().insert(frame.in_file());
    }
    for (place, (file, numbers)) in by_file.into_iter().enumerate() {
        let Some(note) = reported.files.get(file as usize) else {
            continue;
        };
        if note.origin == Origin::Interface {
            // Nothing was saved that could be looked at.
            continue;
        }
        let file = match note.path.as_os_str() == "-" {
            true => "CAPTURE".to_owned(),
            false => shell_word(&note.path),
        };
        let numbers: Vec<String> = numbers.iter().take(MOST_CHECKED).map(u64::to_string).collect();
        let label = if place == 0 { "check" } else { "" };
        page.unbroken(
            label,
            &format!("tshark -r {file} -Y 'frame.number in {{{}}}'", numbers.join(",")),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::super::{Closing, Text};
    use super::*;
    use crate::capture::source::FileNote;
    use crate::finding::evidence::Observation;
    use crate::report::escape::is_unsafe;

    const EXPECTED: &str = "\
CONFIRMED  forged TCP reset  blocked.example (TLS server name)

  A TCP reset, which ends the connection, came in the name of the server, and the server did not
  send it. This behaviour is compatible with filtering of the name blocked.example.

  flow       10.0.0.5:40312 → 203.0.113.7:443, TLS over TCP
  when       2026-01-02 03:04:05.678901 UTC, frame 9 of x.pcap
  stage      after the first data packet: PSH+ACK -> RST+ACK;RST+ACK
  box        injector i-3fa2, on-path (it sees a copy of the traffic and adds packets; the genuine
             ones arrive as well); about 3 hops from the tap (its TTL 61 suggests it started at 64)
  packets        8  trigger  TLS server name blocked.example
             9, 10  forged   in the name of the server
                12  genuine  what was really sent

  for         +4.6  █████    the sender went on sending 41 ms after its own reset [frame 12]
              +3.8  ████     reset 2.0 ms after the trigger and before the server said anything
                             (round trip 43 ms) [frames 8, 9]
              +2.9  ███      the don't-fragment bit is not as on the sender's other packets [frame
                             9]
             (+1.1) █        the reset arrived with TTL 61, the sender's other packets with 50
                             (weak: firewalls and balancers do that too) [frames 9, 7]
  against     -1.6  ██       the capture may have lost packets of this flow
  together   -4.6 before looking, +11.3 for, -1.6 against: log-odds +5.1, a probability of 99.3 %
             (in brackets: not counted, because a heavier sign of the same sort is)

  check      tshark -r x.pcap -Y 'frame.number in {7,8,9,10,12}'

";

    fn written(finding: &Finding, files: &[FileNote], width: usize) -> String {
        let mut text = Text::new(Vec::new(), width, Closing::Summary);
        sample::tell(&mut text, finding, files);
        let styled = String::from_utf8(text.into_inner()).unwrap();
        anstream::adapter::strip_str(&styled).to_string()
    }

    fn words(text: &str) -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_finding_is_told_so_that_a_newcomer_understands_it() {
        assert_eq!(written(&sample::reset(), &sample::one_file(), 100), EXPECTED);
    }

    #[test]
    fn both_answers_to_a_dns_question_are_shown_and_both_files() {
        let mut files = sample::one_file();
        files.push(FileNote {
            path: "other y.pcap".into(),
            ..FileNote::default()
        });
        let text = written(&sample::dns(), &files, 100);
        for part in [
            "CONFIRMED  forged DNS answer  blocked.example (DNS question)",
            "flow       10.0.0.5:40312 → 203.0.113.7:53, DNS over UDP, VLAN 7",
            "A DNS answer came in the name of the DNS server, and the DNS server did not send it.",
            "2 to 5 hops from the tap",
            "device     marks of some family, as described by some paper",
            "answers    forged: 10.10.34.35; genuine: 198.51.100.7",
            "other y.pcap 1  genuine",
            "[frames 3; other y.pcap 1]",
            "tshark -r x.pcap -Y 'frame.number in {2,3}'\n",
            "tshark -r 'other y.pcap' -Y 'frame.number in {1}'\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn nothing_from_the_wire_reaches_the_terminal_as_it_is() {
        let mut files = sample::one_file();
        files[0].path = "evil\x1b]0;\u{202e}.pcap".into();
        let mut text = Text::new(Vec::new(), 100, Closing::Summary);
        sample::tell(&mut text, &sample::page(), &files);
        let styled = String::from_utf8(text.into_inner()).unwrap();
        let plain = anstream::adapter::strip_str(&styled).to_string();
        assert!(!plain.replace('\n', "").contains(is_unsafe), "{plain:?}");
        // Every escape in the styled text is a style.
        for (at, _) in styled.match_indices('\x1b') {
            let end = styled[at..].find(|c: char| c.is_ascii_alphabetic()).unwrap();
            assert_eq!(&styled[at + end..=at + end], "m");
        }
        for part in [
            r"evil\u{1b}[2J\u{202e}.example",
            r"http://block.example/\u{9b}31m",
            r"tshark -r $'evil\x1b]0;\xe2\x80\xae.pcap'",
        ] {
            assert!(plain.contains(part), "{part}\n{plain}");
        }
    }

    #[test]
    fn a_box_that_copies_the_ttl_is_nowhere() {
        let text = words(&written(&sample::page(), &sample::one_file(), 100));
        assert!(text.contains("in-path (the traffic goes through it"), "{text}");
        assert!(text.contains("its distance is unknown: it mirrors the TTL"), "{text}");
        assert!(text.contains("status 302, leads to"), "{text}");
        assert!(
            text.contains("matches row-1, known from XX (a list; line 7 of list.csv; https://example.org/m)"),
            "{text}"
        );
        assert!(text.contains("11 dropped swallowed on the way"), "{text}");
    }

    #[test]
    fn a_ttl_that_tells_no_distance_is_told_as_it_arrived() {
        let injector = Injector {
            arrival_ttl: Some(47),
            ..Injector::default()
        };
        assert_eq!(
            distance(Some(&injector)),
            "its distance is unknown (its packets arrive with TTL 47)"
        );
    }

    #[test]
    fn the_sentence_is_no_surer_than_the_verdict() {
        for (verdict, words) in [
            (Verdict::Confirmed, "the server did not send it"),
            (Verdict::Likely, "the server most likely did not send it"),
            (Verdict::Possible, "the server may not have sent it"),
        ] {
            assert!(account(&sample::reset(), verdict).contains(words));
        }
    }

    #[test]
    fn a_high_probability_without_proof_is_explained() {
        let mut finding = sample::reset();
        finding.evidence[0].observation = Observation::ResetAheadOfStream { by: 7 };
        finding.evidence.truncate(3);
        finding.evidence[2].observation = Observation::IpIdCopiedFromTrigger { ip_id: 7, offset: 0 };
        let text = words(&written(&finding, &sample::one_file(), 100));
        assert!(text.starts_with("LIKELY") && text.contains("99."), "{text}");
        assert!(text.contains("not confirmed, as none of the signs is proof"), "{text}");
    }

    #[test]
    fn who_answers_in_its_own_name_is_not_said_to_forge() {
        let mut finding = sample::dns();
        finding.kind = Kind::CaptivePortal;
        finding.claimed_sender = None;
        finding.position = Position::Unknown;
        finding.genuine.clear();
        finding.particulars.genuine_answers.clear();
        let text = words(&written(&finding, &sample::one_file(), 100));
        assert!(text.contains("given: 10.10.34.35"), "{text}");
        assert!(text.contains("speaks in its own name"), "{text}");
        for accusation in ["forged", "filtering", "on-path"] {
            assert!(!text.contains(accusation), "{accusation}: {text}");
        }
    }

    #[test]
    fn a_finding_without_a_name_says_so() {
        let mut finding = sample::reset();
        finding.trigger.as_mut().unwrap().name = None;
        let text = written(&finding, &sample::one_file(), 100);
        assert!(text.contains("203.0.113.7:443 (no name seen)"), "{text}");
        assert!(words(&text).contains("compatible with filtering on the way"), "{text}");
    }

    #[test]
    fn a_narrow_terminal_gets_narrow_lines() {
        let text = written(&sample::reset(), &sample::one_file(), 60);
        for line in text.lines().filter(|line| !line.contains("tshark")) {
            assert!(columns(line) <= 60, "{line}");
        }
    }

    #[test]
    fn many_packets_do_not_flood_the_screen() {
        let mut finding = sample::reset();
        finding.forged = (9..2000).map(sample::frame).collect();
        finding.genuine = Vec::new();
        let text = written(&finding, &sample::one_file(), 100);
        assert!(text.contains("and 1983 more"), "{text}");
        assert!(text.len() < 4000, "{text}");
    }
}
