//! The end of the text: what was looked at, what could not be, what was found. Silence is never sold as innocence.

use std::collections::BTreeMap;

use super::super::escape::{escaped, escaped_path};
use super::super::figures::{bytes, counted, grouped, moment, span};
use super::page::{CYAN, Page, RED, STRONG, YELLOW, paint};
use crate::capture::source::{FileNote, Origin};
use crate::finding::finding::Kind;
use crate::finding::summary::{Coverage, Summary, Table};
use crate::finding::verdict::Verdict;
use crate::packet::dissect::Undissected;

/// Writes the summary.
pub(super) fn closing(page: &mut Page, summary: &Summary) {
    inspected(page, summary);
    let limits = limits(summary);
    if !limits.is_empty() {
        page.gap();
        page.wrapped("", &paint(STRONG, "What to know about this capture"));
        for limit in &limits {
            page.wrapped("  - ", &limit.sentence);
        }
    }
    page.gap();
    let missed = limits.iter().any(|limit| limit.weight == Weight::Missed);
    found(page, summary, missed);
}

fn inspected(page: &mut Page, summary: &Summary) {
    let coverage = &summary.coverage;
    let mut text = format!(
        "{} {} ({}) of {}",
        paint(STRONG, "Inspected"),
        counted(coverage.frames, "frame"),
        bytes(coverage.bytes),
        origins(summary),
    );
    if let (Some(first), Some(last)) = (summary.first, summary.last) {
        text.push_str(&format!(
            ", from {} on, over {}",
            moment(first),
            span(last.since(first))
        ));
    }
    text.push_str(&format!(
        ": {}, {}, {}.",
        counted(coverage.tcp_flows, "TCP flow"),
        counted(coverage.udp_flows, "UDP flow"),
        counted(coverage.dns_answered, "answered DNS question")
    ));
    page.wrapped("", &text);
}

/// `2 files`, `1 interface`.
fn origins(summary: &Summary) -> String {
    let live = |file: &&FileNote| file.origin == Origin::Interface;
    let noun = if summary.files.iter().any(|file| live(&file)) {
        "interface"
    } else {
        "file"
    };
    counted(summary.files.len() as u64, noun)
}

/// Whether something that could have been judged was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// Blocking may hide here.
    Missed,
    /// Good to know.
    Noted,
}

struct Limit {
    weight: Weight,
    sentence: String,
}

/// A sentence for everything that was not seen, or not in full.
fn limits(summary: &Summary) -> Vec<Limit> {
    use Weight::{Missed, Noted};
    let mut limits = Vec::new();
    let mut say = |weight, sentence: String| limits.push(Limit { weight, sentence });
    if summary.interrupted {
        say(
            Missed,
            "The run was stopped before the end of its input: the rest was not inspected.".to_owned(),
        );
    }
    for file in &summary.files {
        let path = escaped_path(&file.path);
        if let Some(damage) = &file.damage {
            say(
                Missed,
                format!(
                    "{path} is damaged at byte {}: {}. What comes after the {} before it was not inspected.",
                    grouped(damage.offset),
                    escaped(&damage.why),
                    counted(file.frames, "frame")
                ),
            );
        }
        if file.lost.total() > 0 {
            say(
                Missed,
                format!(
                    "{path} lost {} before they could be read ({} in the kernel's ring, {} in the interface): what they \
                     would have shown is missing (--buffer makes the ring larger).",
                    counted(file.lost.total(), "frame"),
                    grouped(file.lost.kernel),
                    grouped(file.lost.interface)
                ),
            );
        }
        if file.filtered > 0 {
            let left_out = counted(file.filtered, "frame");
            say(
                Noted,
                format!("{left_out} of {path} did not match the filter and were not judged."),
            );
        }
    }
    if summary.withheld > 0 {
        say(
            Missed,
            format!(
                "{} not told: they rest on packets that did not come, and so many were lost in capturing that these may \
                 be among them.",
                counted(summary.withheld, "finding")
            ),
        );
    }
    for reason in Undissected::ALL {
        let count = summary.coverage.undissected.get(&reason).copied().unwrap_or(0);
        if count > 0 {
            let (weight, sentence) = undissected(reason, count);
            say(weight, sentence);
        }
    }
    counters(&summary.coverage, summary.table, &mut say);
    limits
}

fn undissected(reason: Undissected, count: u64) -> (Weight, String) {
    let frames = counted(count, "frame");
    let (weight, rest) = match reason {
        Undissected::UnknownLinkType => (
            Weight::Missed,
            "of a link type that is not read: nothing in them was inspected.",
        ),
        Undissected::NotIp => (
            Weight::Noted,
            "without IP (ARP and the like): there is nothing in them to judge.",
        ),
        Undissected::LaterFragment => (
            Weight::Missed,
            "that are later fragments of larger packets: of such packets only the first fragment was inspected.",
        ),
        Undissected::CutShort => (
            Weight::Missed,
            "cut before their ports by the snap length: not inspected. Capturing whole packets (tcpdump -s 0) helps.",
        ),
        Undissected::Malformed => (Weight::Missed, "whose headers contradict themselves: not inspected."),
    };
    (weight, format!("{frames} {rest}"))
}

fn counters(coverage: &Coverage, table: Table, say: &mut impl FnMut(Weight, String)) {
    use Weight::{Missed, Noted};
    let tcp = grouped(coverage.tcp_flows);
    let rows: [(u64, Weight, &str, String); 11] = [
        (
            coverage.other_protocols,
            Noted,
            "packet",
            "of other protocols than TCP, UDP and ICMP: no detector reads them.".to_owned(),
        ),
        (
            coverage.icmp_errors,
            Noted,
            "ICMP error",
            "(unreachable and the like): counted, not judged.".to_owned(),
        ),
        (
            coverage.snapped,
            Missed,
            "packet",
            "whose payload the snap length cut: names and pages beyond the cut could not be seen.".to_owned(),
        ),
        (
            coverage.duplicates,
            Noted,
            "packet",
            "that repeat one just seen (the capture shows some traffic twice): judged once.".to_owned(),
        ),
        (
            coverage.one_sided,
            Missed,
            "TCP flow",
            format!("of {tcp} seen in one direction only: what the other side sent could not be compared."),
        ),
        (
            coverage.no_handshake,
            Missed,
            "TCP flow",
            format!("of {tcp} already under way when the capture began: how they opened is unknown."),
        ),
        (
            coverage.dns_unanswered,
            Missed,
            "DNS question",
            "without an answer in this capture: lost, swallowed, or answered elsewhere.".to_owned(),
        ),
        (
            coverage.evicted,
            Missed,
            "flow",
            format!(
                "given up before the end because the flow table was full: it holds {} in about {} (--flows or --memory makes \
                 it larger).",
                counted(table.flows, "flow"),
                bytes(table.bytes)
            ),
        ),
        (
            coverage.heads_refused,
            Missed,
            "flow",
            "whose first bytes could not be kept, as the store for them was full: their names may be missing."
                .to_owned(),
        ),
        (
            coverage.not_compared,
            Missed,
            "TCP flow",
            "that others could not be compared with, as the store for what flows came to was full: blocks that only the \
             comparison shows may be missing."
                .to_owned(),
        ),
        (
            coverage.findings_dropped,
            Missed,
            "finding",
            "that did not fit the ledger: missing from this report.".to_owned(),
        ),
    ];
    for (count, weight, noun, rest) in rows {
        if count > 0 {
            say(weight, format!("{} {rest}", counted(count, noun)));
        }
    }
}

fn found(page: &mut Page, summary: &Summary, missed: bool) {
    let coverage = &summary.coverage;
    let mut verdicts: BTreeMap<Verdict, u64> = BTreeMap::new();
    let mut kinds: BTreeMap<Kind, BTreeMap<Verdict, u64>> = BTreeMap::new();
    for ((kind, verdict), count) in &summary.findings {
        *verdicts.entry(*verdict).or_default() += count;
        *kinds.entry(*kind).or_default().entry(*verdict).or_default() += count;
    }
    if !verdicts.is_empty() {
        page.wrapped("", &format!("{} {}", paint(STRONG, "Found"), tally(&verdicts)));
        for (kind, counts) in &kinds {
            page.wrapped("  - ", &format!("{}: {}", kind.headline(), tally(counts)));
        }
        if !summary.injectors.is_empty() {
            page.wrapped("", &injectors(summary));
        }
        return;
    }
    if coverage.tcp_flows + coverage.udp_flows == 0 {
        let filtered: u64 = summary.files.iter().map(|file| file.filtered).sum();
        let why = match (coverage.frames, filtered) {
            (0, 0) => "no packets could be read".to_owned(),
            (0, _) => "the filter left out every packet".to_owned(),
            (frames, _) => format!("none of {} belongs to a TCP or UDP flow", counted(frames, "frame")),
        };
        page.wrapped("", &format!("{}: {why}.", paint(STRONG, "Nothing to inspect")));
        return;
    }
    let mut text = format!(
        "{}: no sign that someone else answered in the name of one of the ends of {}. \
         This tells nothing about names that were not asked for while capturing",
        paint(STRONG, "Nothing found"),
        flows(coverage),
    );
    text.push_str(if missed {
        ", and nothing about what could not be inspected (see above)."
    } else {
        "."
    });
    page.wrapped("", &text);
}

/// How many boxes there are by their habits, the busiest named.
fn injectors(summary: &Summary) -> String {
    const MOST_NAMED: usize = 8;
    let mut busiest: Vec<_> = summary.injectors.iter().collect();
    busiest.sort_by_key(|(id, count)| (std::cmp::Reverse(**count), **id));
    let named = busiest.iter().take(MOST_NAMED);
    let named: Vec<String> = named
        .map(|(id, count)| format!("{id} ({})", counted(**count, "finding")))
        .collect();
    let more = match busiest.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "By their habits {}: {}{more}",
        counted(busiest.len() as u64, "injector"),
        named.join(", ")
    )
}

fn flows(coverage: &Coverage) -> String {
    match (coverage.tcp_flows, coverage.udp_flows) {
        (tcp, 0) => counted(tcp, "TCP flow"),
        (0, udp) => counted(udp, "UDP flow"),
        (tcp, udp) => format!("{} and {}", counted(tcp, "TCP flow"), counted(udp, "UDP flow")),
    }
}

/// `3 confirmed, 1 possible`, the surest first.
fn tally(counts: &BTreeMap<Verdict, u64>) -> String {
    let parts: Vec<String> = counts
        .iter()
        .rev()
        .map(|(verdict, count)| {
            let style = match verdict {
                Verdict::Confirmed => RED,
                Verdict::Likely => YELLOW,
                Verdict::Possible => CYAN,
            };
            paint(style, format!("{} {verdict}", grouped(*count)))
        })
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::report::sink::Sink;
    use crate::report::text::{Closing, Text};

    fn told(summary: &Summary) -> String {
        let mut text = Text::new(Vec::new(), 10_000, Closing::Summary);
        text.finish(summary).unwrap();
        let styled = String::from_utf8(text.into_inner()).unwrap();
        anstream::adapter::strip_str(&styled).to_string()
    }

    /// A run over some flows in which nothing was found and nothing missed.
    fn quiet() -> Summary {
        let mut summary = Summary {
            files: sample::one_file(),
            ..Summary::default()
        };
        summary.coverage.frames = 12;
        summary.coverage.tcp_flows = 3;
        summary.coverage.udp_flows = 1;
        summary
    }

    #[test]
    fn every_counter_has_its_sentence() {
        let text = told(&sample::full_summary());
        for part in [
            "Inspected 1,234 frames (1.2 MB) of 2 files, from 2026-01-02 03:04:05.678901 UTC on, over 5 min 6 s: \
             120 TCP flows, 14 UDP flows, 33 answered DNS questions.\n",
            "- The run was stopped before the end of its input",
            "- x.pcap is damaged at byte 98,304: a record of 4 GB. What comes after the 1,200 frames before it was not",
            "- 3 findings not told: they rest on packets that did not come",
            "- x.pcap lost 35 frames before they could be read (17 in the kernel's ring, 18 in the interface)",
            "- 40 frames of x.pcap did not match the filter",
            "- 1 frame of a link type that is not read",
            "- 2 frames without IP",
            "- 3 frames that are later fragments",
            "- 4 frames cut before their ports",
            "- 5 frames whose headers contradict themselves",
            "- 6 packets of other protocols",
            "- 7 ICMP errors",
            "- 8 packets whose payload the snap length cut",
            "- 9 packets that repeat one just seen",
            "- 10 TCP flows of 120 seen in one direction only",
            "- 11 TCP flows of 120 already under way",
            "- 12 DNS questions without an answer",
            "- 13 flows given up before the end",
            "- 15 flows whose first bytes could not be kept",
            "- 16 findings that did not fit the ledger",
            "Found 3 confirmed, 2 likely, 1 possible\n",
            "- forged TCP reset: 3 confirmed, 1 possible\n",
            "- forged DNS answer: 2 likely\n",
            "By their habits 2 injectors: i-3fa2 (4 findings), i-0b1c (1 finding)\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn counters_at_zero_are_not_mentioned() {
        let text = told(&quiet());
        assert_eq!(
            text,
            "Inspected 12 frames (0 bytes) of 1 file: 3 TCP flows, 1 UDP flow, 0 answered DNS questions.\n\n\
             Nothing found: no sign that someone else answered in the name of one of the ends of 3 TCP flows and 1 UDP \
             flow. This tells nothing about names that were not asked for while capturing.\n"
        );
    }

    #[test]
    fn silence_about_what_was_not_seen_is_not_sold_as_innocence() {
        let mut summary = sample::full_summary();
        summary.findings.clear();
        let text = told(&summary);
        assert!(text.contains("Nothing found"), "{text}");
        assert!(text.contains("nothing about what could not be inspected"), "{text}");
        for summary in [sample::full_summary(), summary, quiet(), Summary::default()] {
            assert!(!told(&summary).to_lowercase().contains("clean"));
        }
    }

    #[test]
    fn what_is_merely_noted_does_not_make_a_run_partial() {
        let mut summary = quiet();
        summary.coverage.undissected.insert(Undissected::NotIp, 2);
        let text = told(&summary);
        assert!(text.contains("2 frames without IP"), "{text}");
        assert!(!text.contains("could not be inspected"), "{text}");
    }

    #[test]
    fn a_capture_without_flows_holds_nothing_to_inspect() {
        assert!(told(&Summary::default()).contains("Nothing to inspect: no packets could be read.\n"));
        let mut summary = quiet();
        (summary.coverage.tcp_flows, summary.coverage.udp_flows) = (0, 0);
        assert!(told(&summary).contains("Nothing to inspect: none of 12 frames belongs to a TCP or UDP flow.\n"));
        summary.coverage.frames = 0;
        summary.files = vec![FileNote {
            filtered: 5,
            ..FileNote::default()
        }];
        assert!(told(&summary).contains("Nothing to inspect: the filter left out every packet.\n"));
    }

    #[test]
    fn a_closing_can_be_left_out() {
        let mut text = Text::new(Vec::new(), 80, Closing::Nothing);
        text.finish(&sample::full_summary()).unwrap();
        assert!(text.into_inner().is_empty());
    }
}
