//! Puts what all workers found in capture order, adds what only the whole capture can tell, and judges.

mod deaths;
mod freezes;
mod handshakes;
mod hosts;
mod injectors;
mod issuers;
mod lies;
mod notices;
mod paces;
mod portals;
mod prohibited;
mod reach;
mod residue;
mod shutdown;

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use self::deaths::Deaths;
use self::freezes::Freezes;
use self::handshakes::Handshakes;
use self::hosts::{compare_with_host, compare_with_other_names};
use self::issuers::Issuers;
use self::lies::compare_lies_with_pages;
use self::notices::Notices;
use self::paces::Paces;
use self::portals::leave_out_what_a_portal_does;
use self::prohibited::Prohibited;
use self::reach::Reach;
use super::baselines::{Baselines, DomainId};
use super::trace::FlowTrace;
use super::worker::Report;
use crate::finding::evidence::Evidence;
use crate::finding::finding::{Finding, Kind, Protocol};
use crate::finding::summary::Coverage;
use crate::finding::tls_shown::TlsShown;
use crate::finding::verdict::Judgement;
use crate::packet::frame::FrameNumber;

/// The most findings held until the end of the capture.
const MOST_FINDINGS: usize = 1 << 20;

/// All findings of a run.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Ledger {
    findings: Vec<Finding>,
    traces: Vec<FlowTrace>,
    shown: Vec<TlsShown>,
    named: BTreeSet<IpAddr>,
    coverage: Coverage,
}

impl Ledger {
    /// Enters one worker's report.
    pub fn enter(&mut self, report: Report) {
        self.coverage.add(&report.coverage);
        self.findings.extend(report.findings);
        self.traces.extend(report.traces);
        self.shown.extend(report.shown);
        self.named.extend(report.named);
    }

    /// Adds another ledger, as far as there is room.
    pub(super) fn absorb(&mut self, other: Self, most_traces: usize) {
        self.findings.extend(other.findings);
        let room = most_traces.saturating_sub(self.traces.len());
        let surplus = other.traces.len().saturating_sub(room);
        self.traces.extend(other.traces.into_iter().take(room));
        let room = most_traces.saturating_sub(self.shown.len());
        self.shown.extend(other.shown.into_iter().take(room));
        self.named.extend(other.named);
        self.coverage.add(&other.coverage);
        self.coverage.not_compared += surplus as u64;
    }

    /// Closes the ledger: all cases, whether they reach a verdict or not, in capture order, and what was looked at.
    #[must_use]
    pub fn close(self, baselines: &Baselines) -> (Vec<(Finding, Judgement)>, Coverage) {
        let Self {
            mut findings,
            mut traces,
            mut shown,
            named,
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
        if findings.is_empty() && !shutdown::is_possible(&traces) {
            return (Vec::new(), coverage);
        }
        traces.sort_unstable_by_key(|trace| trace.first_frame);
        compare_lies_with_pages(&mut findings);
        let (tcp, handshakes): (Vec<FlowTrace>, Vec<FlowTrace>) =
            traces.iter().partition(|trace| trace.protocol == Protocol::Tcp);
        // Flows are put in order only for findings that ask for it: most captures have none.
        let kinds: BTreeSet<Kind> = findings.iter().map(|finding| finding.kind).collect();
        let asked_for = |kind: Kind| kinds.contains(&kind);
        let deaths = Deaths::of(
            &findings,
            if asked_for(Kind::SilentDrop) { &tcp } else { &[] },
            baselines,
        );
        let handshakes = if asked_for(Kind::QuicDrop) {
            Handshakes::of(&handshakes, &tcp)
        } else {
            Handshakes::default()
        };
        let freezes = Freezes::of(&findings, &tcp);
        let reach = Reach::of(if asked_for(Kind::IpBlackhole) { &tcp } else { &[] });
        shown.sort_by_key(|shown| shown.flow);
        let issuers = Issuers::of(if asked_for(Kind::TlsInterception) { &shown } else { &[] });
        let notices = Notices::of(&findings, &tcp);
        let prohibited = Prohibited::of(&findings, &tcp);
        let paces = Paces::of(&findings, &tcp);
        for finding in &mut findings {
            deaths.compare(finding, baselines);
            handshakes.compare(finding);
            compare_with_host(finding, baselines);
            compare_with_other_names(finding, baselines);
            freezes.compare(finding, &tcp);
            paces.compare(finding, &tcp);
            reach.compare(finding);
            issuers.compare(finding);
            notices.compare(finding);
            prohibited.compare(finding, baselines);
        }
        shutdown::tell(&mut findings, &tcp, &named);
        residue::tell(&mut findings, &traces);

        for finding in &mut findings {
            heaviest_first(&mut finding.evidence);
        }
        leave_out_the_same_told_twice(&mut findings);
        leave_out_what_a_portal_does(&mut findings);
        injectors::identify(&mut findings);
        let judged = findings
            .into_iter()
            .map(|finding| {
                let judgement = finding.judgement();
                (finding, judgement)
            })
            .collect();
        (judged, coverage)
    }
}

/// The registrable domain of the name that set the box off.
fn domain(finding: &Finding) -> Option<DomainId> {
    finding.trigger.as_ref()?.name.as_deref().map(DomainId::of)
}

/// A forged page, alert or DNS answer is forged data too, and forged data may close the stream; it is told once, as what
/// it is.
fn leave_out_the_same_told_twice(findings: &mut Vec<Finding>) {
    const fn rank(kind: Kind) -> u8 {
        match kind {
            Kind::FinInjection => 2,
            Kind::PayloadInjection => 1,
            _ => 0,
        }
    }
    for general in [1, 2] {
        let told: HashSet<FrameNumber> = findings
            .iter()
            .filter(|finding| rank(finding.kind) < general && finding.verdict().is_some())
            .flat_map(|finding| finding.forged.iter().copied())
            .collect();
        findings.retain(|finding| {
            rank(finding.kind) != general || !finding.forged.iter().any(|frame| told.contains(frame))
        });
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
