//! `shutdown`: almost everything foreign unreachable at once.
//!
//! # What it sees
//! Which networks (16 bits of an IPv4 address, 32 of an IPv6 one) answered connections to web and DNS ports, and when;
//! which left SYN after SYN unanswered; which addresses a name led to.
//!
//! # How it tells
//! At one moment many networks that had answered before fall silent together and stay so for a minute and more, while
//! some others go on answering. It is told once, in the name of all flows it cut, whose own findings are left out. The
//! onset is told by the last answer before and the first silence after. Where the capture began too late to see the
//! networks work, those that names lead to are counted, and the verdict stays at `possible`.
//!
//! # What it mistakes
//! Who cut the wire is not written on it: a broken cable or a failed transit provider abroad looks the same as a decree.
//! An uplink that is down silences everything and is not told; private addresses do not count as working, or the printer
//! would. Peers of file sharing leave one by one and live on other ports; a scan never saw its targets work. Which
//! networks are foreign is not known: it is told by what keeps working. Only TCP is looked at.
//!
//! # References
//! wire-facts 7.5 (Kazakhstan, January 2022). Sundara Raman et al., 2023, on what outages look like.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::detect::ip_blackhole::is_reachable;
use crate::engine::trace::{Fate, FlowTrace};
use crate::finding::evidence::{DropsObservation, Evidence, Observation};
use crate::finding::finding::{
    Application, Conversation, Finding, Kind, Particulars, Position, Protocol, Stage, Trigger, TriggerKind,
};
use crate::finding::verdict::Prior;
use crate::packet::frame::FrameNumber;
use crate::time::Timestamp;

/// Networks that must fall silent together, and networks that must go on working [E].
const LEAST_SILENT: usize = 6;
const LEAST_WORKING: usize = 2;

/// How long they must be silent (wire-facts 7.5: more than 60 s).
const LEAST_SPAN: Duration = Duration::from_secs(60);

/// Flows that try a network later than this after the onset are of another time.
const LONGEST: Duration = Duration::from_secs(900);

/// The last answer lies at most so long before a sharp onset.
const SHARP: Duration = Duration::from_secs(60);

/// SYNs must be repeated for so long to say that nobody answers.
const WAITED: Duration = Duration::from_millis(2_500);

/// The most silences looked at as the beginning of a shutdown.
const MOST_SILENCES: usize = 4096;

/// The most packets a finding names.
const MOST_NAMED: usize = 64;

/// A network: an address with the host's bits cleared.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & 0xffff_0000)),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 96 << 96)),
    }
}

/// Ports that the public visits: peers and games live elsewhere.
const fn is_public_port(port: u16) -> bool {
    matches!(port, 53 | 80 | 443 | 853)
}

/// A span in which a network did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Silence {
    /// The first flow that was not answered.
    first: Timestamp,
    /// Its last SYN, or that of a later one.
    last: Timestamp,
    network: IpAddr,
    /// When the network was last served before.
    before: Option<Timestamp>,
    /// When it was first served after.
    after: Option<Timestamp>,
    /// A name led to one of the addresses.
    named: bool,
}

/// Whether the flow says that its network is silent, that it works, or nothing.
fn sign(trace: &FlowTrace) -> Option<bool> {
    match trace.fate {
        _ if trace.silence >= WAITED => Some(false),
        Fate::Served | Fate::Refused => Some(true),
        // A server of which the capture shows nothing may have answered where it does not look.
        Fate::Reached | Fate::Unanswered | Fate::Died => None,
    }
}

/// Whether any flow was silent for long enough.
pub(super) fn is_possible(traces: &[FlowTrace]) -> bool {
    traces.iter().any(|trace| sign(trace) == Some(false))
}

/// Files a shutdown, if there was one, and takes the findings out that it explains.
pub(super) fn tell(findings: &mut Vec<Finding>, traces: &[FlowTrace], named: &BTreeSet<IpAddr>) {
    let visits: Vec<&FlowTrace> = traces
        .iter()
        .filter(|trace| is_public_port(trace.server.port) && is_reachable(trace.server.ip))
        .collect();
    let silences = silences(&visits, named);
    let Some(shutdown) = Shutdown::largest(&silences, &visits) else {
        return;
    };
    let Some(finding) = shutdown.finding(&visits) else {
        return;
    };
    findings.retain(|finding| {
        let dropped = matches!(finding.kind, Kind::IpBlackhole | Kind::SilentDrop | Kind::VolumeFreeze);
        let during = finding.at >= shutdown.answered.unwrap_or(shutdown.first) && finding.at <= shutdown.last;
        !(dropped && during && shutdown.silent.contains(&network(finding.conversation.server.ip)))
    });
    findings.push(finding);
    findings.sort_by_key(|finding| (finding.decided_by, finding.kind, finding.claimed_sender, finding.at));
}

/// The silences of networks that had worked, or that a name led to, by their beginning.
fn silences(visits: &[&FlowTrace], named: &BTreeSet<IpAddr>) -> Vec<Silence> {
    let mut open = BTreeMap::<IpAddr, Silence>::new();
    let mut worked = BTreeMap::<IpAddr, Timestamp>::new();
    let mut over = Vec::new();
    for trace in visits {
        let network = network(trace.server.ip);
        match sign(trace) {
            Some(false) => {
                let silence = open.entry(network).or_insert_with(|| Silence {
                    first: trace.began,
                    last: trace.began,
                    network,
                    before: worked.get(&network).copied(),
                    after: None,
                    named: false,
                });
                silence.last = silence.last.max(trace.began.plus(trace.silence));
                silence.named |= named.contains(&trace.server.ip);
            }
            Some(true) => {
                worked.insert(network, trace.began);
                if let Some(mut silence) = open.remove(&network) {
                    silence.after = Some(trace.began);
                    over.push(silence);
                }
            }
            None => {}
        }
    }
    over.extend(open.into_values());
    over.retain(|silence| silence.before.is_some() || silence.named);
    over.sort();
    over.truncate(MOST_SILENCES);
    over
}

/// Networks that fell silent together.
struct Shutdown {
    silent: BTreeSet<IpAddr>,
    /// Of these, networks that were seen to work before.
    fallen: usize,
    /// Of these, networks that came back.
    back: usize,
    working: usize,
    /// The last answer of any of them before.
    answered: Option<Timestamp>,
    first: Timestamp,
    last: Timestamp,
}

impl Shutdown {
    /// The moment at which the most networks fell silent, if they are enough.
    fn largest(silences: &[Silence], visits: &[&FlowTrace]) -> Option<Self> {
        let mut best: Option<(usize, Timestamp)> = None;
        for start in silences {
            let networks: BTreeSet<IpAddr> = members(silences, start.first).map(|silence| silence.network).collect();
            let networks = networks.len();
            if networks >= LEAST_SILENT && best.is_none_or(|(most, _)| networks > most) {
                best = Some((networks, start.first));
            }
        }
        let (_, first) = best?;
        let fallen: Vec<_> = members(silences, first)
            .filter(|silence| silence.before.is_some())
            .collect();
        // Where enough were seen to fall, those that were never seen to work add nothing that is certain.
        let counted = if fallen.len() >= LEAST_SILENT {
            fallen
        } else {
            members(silences, first).collect()
        };
        let all: BTreeSet<IpAddr> = members(silences, first).map(|silence| silence.network).collect();
        let last = members(silences, first).map(|silence| silence.last).max()?;
        let working: BTreeSet<IpAddr> = visits
            .iter()
            .filter(|trace| sign(trace) == Some(true) && trace.began >= first && trace.began <= last)
            .map(|trace| network(trace.server.ip))
            .filter(|network| !all.contains(network))
            .collect();
        let enough = counted.len() >= LEAST_SILENT
            && working.len() >= LEAST_WORKING
            && counted.len() >= working.len() * 2
            && last.since(first) >= LEAST_SPAN;
        enough.then(|| Self {
            fallen: counted.iter().filter(|silence| silence.before.is_some()).count(),
            back: counted.iter().filter(|silence| silence.after.is_some()).count(),
            working: working.len(),
            answered: counted.iter().filter_map(|silence| silence.before).max(),
            silent: all,
            first,
            last,
        })
    }

    /// The finding, in the name of its first flow.
    fn finding(&self, visits: &[&FlowTrace]) -> Option<Finding> {
        let cut: Vec<_> = visits
            .iter()
            .filter(|trace| sign(trace) == Some(false) && trace.began >= self.first && trace.began <= self.last)
            .filter(|trace| self.silent.contains(&network(trace.server.ip)))
            .take(MOST_NAMED)
            .collect();
        let first = cut.first()?;
        let dropped: Vec<FrameNumber> = cut.iter().map(|trace| trace.first_frame).collect();
        let (silent, working) = (self.silent.len() as u32, self.working as u32);
        let mut evidence = vec![Evidence::at(
            Observation::Drops(DropsObservation::FlowsUnanswered {
                flows: dropped.len() as u32,
            }),
            &dropped,
        )];
        let mut add = |observation| evidence.push(Evidence::at(Observation::Drops(observation), &[]));
        if self.fallen >= LEAST_SILENT {
            add(DropsObservation::NetworksFellSilent {
                silent: self.fallen as u32,
                working,
                back: self.back as u32,
            });
            if let Some(within) = self.answered.map(|answered| self.first.since(answered))
                && within <= SHARP
            {
                add(DropsObservation::SharpOnset { within });
            }
        } else {
            add(DropsObservation::NetworksSilentThroughout { silent, working });
        }
        Some(Finding {
            kind: Kind::Shutdown,
            conversation: Conversation {
                client: first.client,
                server: first.server,
                protocol: Protocol::Tcp,
                application: Application::Unknown,
                vlan: None,
                first_frame: first.first_frame,
                started: first.began,
            },
            decided_by: first.first_frame,
            at: first.began,
            stage: Some(Stage::PostSyn),
            signature: Some("SYN -> ∅"),
            claimed_sender: None,
            position: Position::InPath,
            trigger: Some(Trigger {
                kind: TriggerKind::Packet,
                name: None,
                frame: first.first_frame,
            }),
            forged: Vec::new(),
            genuine: Vec::new(),
            dropped,
            prior: Prior::Abnormal,
            evidence,
            injector: None,
            particulars: Particulars::default(),
        })
    }
}

/// The silences that a cut at `start` explains: of networks that did not answer after it for long, and were not known to
/// be silent before.
fn members(silences: &[Silence], start: Timestamp) -> impl Iterator<Item = &Silence> {
    let from = silences.partition_point(|silence| silence.first < start);
    silences[from..]
        .iter()
        .take_while(move |silence| silence.first.since(start) <= LONGEST)
        .filter(move |silence| silence.before.is_none_or(|before| before < start))
        .filter(move |silence| silence.after.is_none_or(|after| after.since(start) >= LEAST_SPAN))
}
