//! Puts what all workers found in capture order, adds what only the whole capture can tell, and judges.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use super::baselines::{Baselines, DomainId};
use super::worker::Report;
use crate::finding::evidence::{Evidence, Observation};
use crate::finding::finding::{Finding, Kind, Party, Stage};
use crate::finding::summary::Coverage;
use crate::finding::verdict::{Judgement, Verdict};
use crate::packet::frame::FrameNumber;
use crate::time::Timestamp;

/// The most findings held until the end of the capture.
const MOST_FINDINGS: usize = 1 << 20;

/// All findings of a run.
#[derive(Debug, Default)]
pub struct Ledger {
    findings: Vec<Finding>,
    coverage: Coverage,
}

impl Ledger {
    /// Enters one worker's report.
    pub fn enter(&mut self, report: Report) {
        self.coverage.add(&report.coverage);
        self.findings.extend(report.findings);
    }

    /// Closes the ledger: all findings that reach a verdict, in capture order, and what was looked at.
    #[must_use]
    pub fn close(self, baselines: &Baselines) -> (Vec<(Finding, Judgement)>, Coverage) {
        let Self {
            mut findings,
            mut coverage,
        } = self;
        findings.sort_by(|one, two| {
            let order = |finding: &Finding| (finding.decided_by, finding.kind, finding.claimed_sender, finding.at);
            order(one).cmp(&order(two))
        });
        if findings.len() > MOST_FINDINGS {
            coverage.findings_dropped += (findings.len() - MOST_FINDINGS) as u64;
            findings.truncate(MOST_FINDINGS);
        }
        count_quic_failures(&mut findings);
        let deaths = Deaths::of(&findings);
        for finding in &mut findings {
            deaths.compare(finding, baselines);
            compare_with_host(finding, baselines);
            compare_with_other_names(finding, baselines);
            heaviest_first(&mut finding.evidence);
        }
        leave_out_the_same_told_twice(&mut findings);
        leave_out_what_a_portal_does(&mut findings);
        let judged = findings
            .into_iter()
            .map(|finding| {
                let judgement = finding.judgement();
                (finding, judgement)
            })
            .filter(|(_, judgement)| judgement.verdict.is_some())
            .collect();
        (judged, coverage)
    }
}

/// How many flows died at which server, in all and by name.
#[derive(Debug, Default)]
struct Deaths {
    by_server: BTreeMap<IpAddr, u32>,
    by_name: BTreeMap<(IpAddr, DomainId), u32>,
}

impl Deaths {
    fn of(findings: &[Finding]) -> Self {
        let mut deaths = Self::default();
        for finding in findings.iter().filter(|finding| finding.kind == Kind::SilentDrop) {
            let server = finding.conversation.server.ip;
            *deaths.by_server.entry(server).or_default() += 1;
            if let Some(domain) = domain(finding) {
                *deaths.by_name.entry((server, domain)).or_default() += 1;
            }
        }
        deaths
    }

    /// One flow that dies is an accident; that the same name dies again and again is not, unless everything does.
    fn compare(&self, finding: &mut Finding, baselines: &Baselines) {
        let server = finding.conversation.server.ip;
        let (Kind::SilentDrop, Some(domain)) = (finding.kind, domain(finding)) else {
            return;
        };
        let flows = self.by_name.get(&(server, domain)).copied().unwrap_or(0);
        let others = self.by_server.get(&server).copied().unwrap_or(0).saturating_sub(flows);
        let host_works = baselines.host(server).is_some_and(|host| host.served > 0);
        if others > 0 && !host_works {
            finding
                .evidence
                .push(Evidence::at(Observation::OtherNamesDieToo { flows: others }, &[]));
        } else if flows >= 2 {
            finding
                .evidence
                .push(Evidence::at(Observation::DiesAtTheName { flows }, &[]));
        }
    }
}

/// Where a QUIC server that serves other names fails for one, all flows that failed for it are counted together.
fn count_quic_failures(findings: &mut [Finding]) {
    let place = |finding: &Finding| {
        (finding.kind == Kind::QuicDrop)
            .then(|| Some((finding.conversation.server.ip, domain(finding)?)))
            .flatten()
    };
    let others = |finding: &Finding| {
        finding.evidence.iter().find_map(|item| match item.observation {
            Observation::OnlyThisName { others_served, .. } => Some(others_served),
            _ => None,
        })
    };
    let mut counted: BTreeMap<(IpAddr, DomainId), (u32, u32)> = BTreeMap::new();
    for finding in findings.iter() {
        let Some(place) = place(finding) else { continue };
        let (failed, most) = counted.entry(place).or_default();
        *failed += 1;
        *most = others(finding).unwrap_or(0).max(*most);
    }
    for finding in findings {
        let Some((failed, others_served)) = place(finding).and_then(|place| counted.get(&place).copied()) else {
            continue;
        };
        finding
            .evidence
            .retain(|item| !matches!(item.observation, Observation::OnlyThisName { .. }));
        if others_served > 0 {
            let observation = Observation::OnlyThisName { failed, others_served };
            finding.evidence.push(Evidence::at(observation, &[]));
        }
    }
}

/// The registrable domain of the name that set the box off.
fn domain(finding: &Finding) -> Option<DomainId> {
    finding.trigger.as_ref()?.name.as_deref().map(DomainId::of)
}

/// A forged page or DNS answer is forged data too; it is told once, as what it is.
fn leave_out_the_same_told_twice(findings: &mut Vec<Finding>) {
    let told: HashSet<FrameNumber> = findings
        .iter()
        .filter(|finding| finding.kind != Kind::PayloadInjection && finding.verdict().is_some())
        .flat_map(|finding| finding.forged.iter().copied())
        .collect();
    findings.retain(|finding| {
        finding.kind != Kind::PayloadInjection || !finding.forged.iter().any(|frame| told.contains(frame))
    });
}

/// How long before and after a portal shows itself the same client's strange answers are taken for the portal's [E].
const PORTAL_REACHES: Duration = Duration::from_secs(120);

/// What a captive portal makes of a client's names and pages is no censorship. A contradiction (two answers that differ)
/// stays: a portal answers alone.
fn leave_out_what_a_portal_does(findings: &mut Vec<Finding>) {
    let mut portals: BTreeMap<IpAddr, Vec<Timestamp>> = BTreeMap::new();
    for finding in findings.iter() {
        if finding.kind == Kind::CaptivePortal && finding.verdict() >= Some(Verdict::Likely) {
            portals
                .entry(finding.conversation.client.ip)
                .or_default()
                .push(finding.at);
        }
    }
    findings.retain(|finding| {
        let answers = matches!(
            finding.kind,
            Kind::BlockPage | Kind::DnsInjection | Kind::DnsBlockAnswer
        );
        let contradicted = finding
            .evidence
            .iter()
            .any(|item| matches!(item.observation, Observation::DifferingAnswers));
        let near = |shown: &Timestamp| shown.since(finding.at).max(finding.at.since(*shown)) <= PORTAL_REACHES;
        !answers
            || contradicted
            || !portals
                .get(&finding.conversation.client.ip)
                .is_some_and(|shown| shown.iter().any(near))
    });
}

/// A reset that answers a SYN has nothing in its own flow to compare its TTL with; the host's other flows do.
fn compare_with_host(finding: &mut Finding, baselines: &Baselines) {
    let answers_syn = finding.stage == Some(Stage::PostSyn) && finding.claimed_sender == Some(Party::Server);
    if finding.kind != Kind::RstInjection || !answers_syn {
        return;
    }
    let Some(usual) = baselines
        .host(finding.conversation.server.ip)
        .and_then(|host| host.usual_ttl())
    else {
        return;
    };
    let Some(reset) = finding.injector.as_ref().and_then(|injector| injector.arrival_ttl) else {
        return;
    };
    let already = finding
        .evidence
        .iter()
        .any(|item| matches!(item.observation, Observation::ResetTtlDiffers { .. }));
    if usual.abs_diff(reset) >= 2 && !already {
        finding.evidence.push(Evidence::at(
            Observation::ResetTtlDiffers { reset, usual },
            &[finding.decided_by],
        ));
    }
}

/// Served flows for other names that a server must show before a name's failing there means anything.
const OTHERS_SERVED: u32 = 2;

/// A name that always fails at a server that serves others is filtered by name.
fn compare_with_other_names(finding: &mut Finding, baselines: &Baselines) {
    let by_name = matches!(
        finding.kind,
        Kind::RstInjection | Kind::SilentDrop | Kind::FinInjection | Kind::TlsAlertInjection
    );
    let name = finding.trigger.as_ref().and_then(|trigger| trigger.name.as_deref());
    let (true, Some(name)) = (by_name, name) else { return };
    let server = finding.conversation.server.ip;
    let (Some(host), Some(record)) = (baselines.host(server), baselines.name(server, DomainId::of(name))) else {
        return;
    };
    let others_served = host.served_by_name.saturating_sub(record.served);
    if record.served == 0 && record.failed > 0 && others_served >= OTHERS_SERVED {
        let observation = Observation::OnlyThisName {
            failed: record.failed,
            others_served,
        };
        finding.evidence.push(Evidence::at(observation, &[]));
    }
}

/// Evidence is printed heaviest first; observations of equal weight in a fixed order.
fn heaviest_first(evidence: &mut [Evidence]) {
    evidence.sort_by(|one, two| {
        two.llr()
            .abs()
            .total_cmp(&one.llr().abs())
            .then_with(|| one.observation.key().cmp(two.observation.key()))
    });
}
