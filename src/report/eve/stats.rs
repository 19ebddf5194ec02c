//! The `stats` record: what a run looked at.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::capture::source::Origin;
use crate::finding::finding::Kind;
use crate::finding::habits::InjectorId;
use crate::finding::summary::{Coverage, Summary};
use crate::finding::verdict::Verdict;
use crate::packet::dissect::Undissected;
use crate::time::Timestamp;

#[derive(Serialize)]
pub(super) struct StatsRecord<'a> {
    timestamp: String,
    event_type: &'static str,
    stats: Stats<'a>,
}

#[derive(Serialize)]
struct Stats<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
    interrupted: bool,
    files: Vec<FileObject<'a>>,
    coverage: CoverageObject,
    findings: Pairs<Pairs<u64>>,
    #[serde(serialize_with = "by_name")]
    injectors: &'a BTreeMap<InjectorId, u64>,
    #[serde(skip_serializing_if = "is_zero")]
    withheld: u64,
}

#[derive(Serialize)]
struct FileObject<'a> {
    pcap_filename: Cow<'a, str>,
    frames: u64,
    filtered: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<DamageObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<LostObject>,
}

#[derive(Serialize)]
struct LostObject {
    kernel: u64,
    interface: u64,
}

#[derive(Serialize)]
struct DamageObject<'a> {
    offset: u64,
    why: &'a str,
}

#[derive(Serialize)]
struct CoverageObject {
    frames: u64,
    bytes: u64,
    undissected: Pairs<u64>,
    other_protocols: u64,
    icmp_errors: u64,
    snapped: u64,
    duplicates: u64,
    tcp_flows: u64,
    udp_flows: u64,
    one_sided: u64,
    no_handshake: u64,
    dns_answered: u64,
    dns_unanswered: u64,
    evicted: u64,
    heads_refused: u64,
    not_compared: u64,
    findings_dropped: u64,
}

/// An object whose keys keep the order they are put in.
struct Pairs<V>(Vec<(&'static str, V)>);

impl<V: Serialize> Serialize for Pairs<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'a> StatsRecord<'a> {
    pub(super) fn of(summary: &'a Summary) -> Self {
        let files = summary.files.iter().map(|file| FileObject {
            pcap_filename: file.path.to_string_lossy(),
            frames: file.frames,
            filtered: file.filtered,
            damage: file.damage.as_ref().map(|damage| DamageObject {
                offset: damage.offset,
                why: &damage.why,
            }),
            lost: (file.origin == Origin::Interface || file.lost.total() > 0).then_some(LostObject {
                kernel: file.lost.kernel,
                interface: file.lost.interface,
            }),
        });
        Self {
            timestamp: summary.last.unwrap_or(Timestamp::EPOCH).to_string(),
            event_type: "stats",
            stats: Stats {
                first: summary.first.map(|at| at.to_string()),
                last: summary.last.map(|at| at.to_string()),
                interrupted: summary.interrupted,
                files: files.collect(),
                coverage: coverage_object(&summary.coverage),
                findings: findings_object(summary),
                injectors: &summary.injectors,
                withheld: summary.withheld,
            },
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn by_name<S: Serializer>(injectors: &&BTreeMap<InjectorId, u64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(injectors.iter().map(|(id, count)| (id.to_string(), count)))
}

/// Every counter, by name: one that is added to [`Coverage`] does not compile until it is told here.
fn coverage_object(coverage: &Coverage) -> CoverageObject {
    let Coverage {
        frames,
        bytes,
        ref undissected,
        other_protocols,
        icmp_errors,
        snapped,
        duplicates,
        tcp_flows,
        udp_flows,
        one_sided,
        no_handshake,
        dns_answered,
        dns_unanswered,
        evicted,
        heads_refused,
        not_compared,
        findings_dropped,
    } = *coverage;
    let reasons = Undissected::ALL.map(|reason| (reason.key(), undissected.get(&reason).copied().unwrap_or(0)));
    CoverageObject {
        frames,
        bytes,
        undissected: Pairs(reasons.into()),
        other_protocols,
        icmp_errors,
        snapped,
        duplicates,
        tcp_flows,
        udp_flows,
        one_sided,
        no_handshake,
        dns_answered,
        dns_unanswered,
        evicted,
        heads_refused,
        not_compared,
        findings_dropped,
    }
}

fn findings_object(summary: &Summary) -> Pairs<Pairs<u64>> {
    let mut kinds: Vec<(Kind, Vec<(&'static str, u64)>)> = Vec::new();
    for ((kind, verdict), count) in &summary.findings {
        let (kind, verdict): (Kind, Verdict) = (*kind, *verdict);
        match kinds.last_mut() {
            Some((last, counts)) if *last == kind => counts.push((verdict.key(), *count)),
            Some(_) | None => kinds.push((kind, vec![(verdict.key(), *count)])),
        }
    }
    Pairs(
        kinds
            .into_iter()
            .map(|(kind, counts)| (kind.key(), Pairs(counts)))
            .collect(),
    )
}
