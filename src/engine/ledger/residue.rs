//! `residual_block`: later flows of the same hosts punished for an earlier one.
//!
//! # What it sees
//! Findings that are sure enough to set a box off, and what came of the later flows between the same two hosts.
//!
//! # How it tells
//! For a time after such a trigger, flows of the same pair of hosts, of the same service or on the same ports fail though
//! they carry no forbidden name, and then they work again. The time is told as an interval: from the last failure to the
//! first success. Flows that fail again after it must have a trigger of their own.
//!
//! # What it mistakes
//! An outage that happens to begin with a blocked flow: it needs flows that worked before and recover after. TCP flows
//! and QUIC handshakes are looked at, each after a trigger of its own sort.
//!
//! # References
//! Bock et al., "Your Censor is My Censor", WOOT 2021 (windows of 60 to 180 s and more; wire-facts 7.1).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::deaths::hides_the_name;
use super::domain;
use crate::engine::trace::{Fate, FlowTrace};
use crate::finding::evidence::{DropsObservation, Evidence, Observation};
use crate::finding::finding::{
    Application, Conversation, Finding, Kind, Particulars, Position, Protocol, Residual, ResidualTuple, Stage, Trigger,
    TriggerKind,
};
use crate::finding::verdict::{Prior, Verdict};
use crate::packet::frame::FrameNumber;
use crate::time::Timestamp;

/// The longest residual window looked for: Iran's and Russia's are 3 to 8 minutes (wire-facts 3.3 and 7.1), and 99.9 % of
/// stateful boxes let go within 2 minutes (Quack).
const LONGEST: Duration = Duration::from_secs(600);

/// The most findings looked at as triggers.
const MOST_TRIGGERS: usize = 4096;

/// The most flows of two hosts looked at after one trigger.
const MOST_COMPARED: usize = 1024;

/// Files a residual block for every trigger that is followed by one, and takes the failed flows' own findings out.
pub(super) fn tell(findings: &mut Vec<Finding>, traces: &[FlowTrace]) {
    let hosts = |conversation: &Conversation| {
        let tcp = conversation.protocol == Protocol::Tcp;
        (conversation.client.ip, conversation.server.ip, tcp)
    };
    let mut pairs: BTreeMap<(IpAddr, IpAddr, bool), Between<'_>> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| sets_off(finding)).take(MOST_TRIGGERS) {
        let between = pairs.entry(hosts(&finding.conversation)).or_default();
        between.set_off.push(finding.at);
    }
    if pairs.is_empty() {
        return;
    }
    for trace in traces {
        let tcp = trace.protocol == Protocol::Tcp;
        if let Some(between) = pairs.get_mut(&(trace.client.ip, trace.server.ip, tcp)) {
            between.flows.push(trace);
        }
    }
    // The latest trigger before a failure explains it: later ones claim their flows first.
    let mut told = Vec::new();
    let mut claimed = BTreeSet::new();
    let triggers: Vec<&Finding> = findings
        .iter()
        .filter(|finding| sets_off(finding))
        .take(MOST_TRIGGERS)
        .collect();
    for trigger in triggers.into_iter().rev() {
        let conversation = &trigger.conversation;
        let Some(between) = pairs.get(&hosts(conversation)) else {
            continue;
        };
        if let Some(residue) = Residue::of(trigger, between) {
            let before = claimed.len();
            claimed.extend(residue.failed.iter().map(|trace| trace.first_frame));
            if claimed.len() > before {
                told.push((conversation.first_frame, residue.finding(trigger)));
            }
        }
    }
    // A flow that was itself punished sets nothing off.
    let mut told: Vec<Finding> = told
        .into_iter()
        .rev()
        .filter(|(flow, _)| !claimed.contains(flow))
        .map(|(_, finding)| finding)
        .collect();
    findings.retain(|finding| {
        let own = matches!(
            finding.kind,
            Kind::SilentDrop | Kind::IpBlackhole | Kind::RstInjection | Kind::QuicDrop | Kind::ResidualBlock
        );
        !(own && claimed.contains(&finding.conversation.first_frame))
    });
    findings.append(&mut told);
    findings.sort_by_key(|finding| (finding.decided_by, finding.kind, finding.claimed_sender, finding.at));
}

/// Whether a finding is one a box may go on punishing, and sure enough to found another on it.
fn sets_off(finding: &Finding) -> bool {
    let kind = matches!(
        finding.kind,
        Kind::RstInjection
            | Kind::SilentDrop
            | Kind::BlockPage
            | Kind::FinInjection
            | Kind::PayloadInjection
            | Kind::TlsAlertInjection
            | Kind::QuicDrop
    );
    let named = finding.trigger.as_ref().is_some_and(|trigger| trigger.name.is_some()) || hides_the_name(finding);
    kind && named && finding.verdict() >= Some(Verdict::Likely)
}

/// What happened between two hosts.
#[derive(Default)]
struct Between<'a> {
    flows: Vec<&'a FlowTrace>,
    /// When boxes were set off.
    set_off: Vec<Timestamp>,
}

/// A residual block.
struct Residue<'a> {
    failed: Vec<&'a FlowTrace>,
    residual: Residual,
    /// Flows of the same hosts that it is not bound to and that were served before it was over.
    meanwhile: u32,
}

impl<'a> Residue<'a> {
    /// The widest tuple whose flows without the name all fail after the trigger, and then work again.
    fn of(trigger: &Finding, between: &Between<'a>) -> Option<Self> {
        let flows = &between.flows[..];
        let name = domain(trigger);
        let (client, server) = (trigger.conversation.client, trigger.conversation.server);
        let matching = |tuple: ResidualTuple, trace: &FlowTrace| match tuple {
            ResidualTuple::Hosts => true,
            ResidualTuple::Service => trace.server.port == server.port,
            ResidualTuple::Flow => trace.server.port == server.port && trace.client.port == client.port,
        };
        let served = flows.iter().filter(|trace| trace.fate == Fate::Served);
        let served_ports: BTreeSet<_> = served.map(|trace| trace.server.port).collect();
        let start = flows.partition_point(|trace| trace.first_frame <= trigger.conversation.first_frame);
        let later: Vec<_> = flows[start..]
            .iter()
            .copied()
            .take(MOST_COMPARED)
            .filter(|trace| trace.began >= trigger.at && trace.began.since(trigger.at) <= LONGEST)
            // A flow with the name is blocked for the name.
            .filter(|trace| trace.domain.is_none() || trace.domain != name)
            // A port that never works is closed.
            .filter(|trace| served_ports.contains(&trace.server.port))
            .collect();
        [ResidualTuple::Hosts, ResidualTuple::Service, ResidualTuple::Flow]
            .into_iter()
            .find_map(|tuple| {
                let mut of_tuple = later.iter().copied().filter(|trace| matching(tuple, trace));
                let mut failed = Vec::new();
                let worked = of_tuple.by_ref().find(|trace| {
                    match trace.fate {
                        Fate::Unanswered | Fate::Refused | Fate::Died => failed.push(*trace),
                        Fate::Reached | Fate::Served => {}
                    }
                    trace.fate == Fate::Served
                })?;
                // The wider tuple must be needed to explain the failures.
                let narrower = |trace: &&FlowTrace| match tuple {
                    ResidualTuple::Hosts => matching(ResidualTuple::Service, trace),
                    ResidualTuple::Service => matching(ResidualTuple::Flow, trace),
                    ResidualTuple::Flow => false,
                };
                let last = failed.last()?;
                let set_off_again = |trace: &FlowTrace| {
                    let mut triggers = between.set_off.iter();
                    triggers.any(|at| *at >= worked.began && *at <= trace.began)
                };
                let fails_again = of_tuple.any(|trace| trace.fate == Fate::Unanswered && !set_off_again(trace));
                if fails_again || failed.iter().all(narrower) {
                    return None;
                }
                let residual = Residual {
                    tuple,
                    failed: last.ended.since(trigger.at),
                    worked: worked.began.since(trigger.at),
                };
                let meanwhile = later
                    .iter()
                    .filter(|trace| !matching(tuple, trace) && trace.fate == Fate::Served && trace.began <= last.ended)
                    .count() as u32;
                (residual.failed < residual.worked).then_some(Self {
                    failed,
                    residual,
                    meanwhile,
                })
            })
    }

    fn finding(self, trigger: &Finding) -> Finding {
        let first = self.failed[0];
        let dropped: Vec<FrameNumber> = self.failed.iter().map(|trace| trace.first_frame).collect();
        let evidence = vec![
            Evidence::at(
                Observation::Drops(DropsObservation::AfterTrigger {
                    after: first.began.since(trigger.at),
                }),
                &[trigger.decided_by],
            ),
            Evidence::at(
                Observation::Drops(DropsObservation::FailedThenRecovered {
                    failed: self.failed.len() as u32,
                    meanwhile: self.meanwhile,
                }),
                &dropped,
            ),
        ];
        Finding {
            kind: Kind::ResidualBlock,
            conversation: Conversation {
                client: first.client,
                server: first.server,
                protocol: trigger.conversation.protocol,
                application: Application::Unknown,
                vlan: trigger.conversation.vlan,
                first_frame: first.first_frame,
                started: first.began,
            },
            decided_by: first.first_frame,
            at: first.began,
            stage: match first.fate {
                Fate::Unanswered | Fate::Refused => Some(Stage::PostSyn),
                Fate::Reached | Fate::Died | Fate::Served => Some(Stage::PostPsh),
            },
            signature: None,
            claimed_sender: None,
            position: Position::Unknown,
            trigger: trigger.trigger.clone().map(|set_off| Trigger {
                kind: if set_off.name.is_some() {
                    set_off.kind
                } else {
                    TriggerKind::Packet
                },
                ..set_off
            }),
            forged: Vec::new(),
            genuine: Vec::new(),
            dropped,
            prior: Prior::Abnormal,
            evidence,
            injector: None,
            particulars: Particulars {
                residual: Some(self.residual),
                ..Particulars::default()
            },
        }
    }
}
