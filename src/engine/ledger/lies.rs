//! What a page says of the lookup that led to it, and the lookup of the page: a resolver that rewrites a name sends its
//! reader to a server that answers in the name's stead.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::finding::evidence::{BlockAnswerObservation, Evidence, Observation};
use crate::finding::finding::{Finding, Kind};
use crate::finding::verdict::Verdict;

/// Who was told a lie about which name.
type Told = (IpAddr, String);

/// Compares block answers of resolvers with the pages at the addresses they gave.
pub(super) fn compare_lies_with_pages(findings: &mut [Finding]) {
    let mut guides: BTreeMap<Told, Vec<IpAddr>> = BTreeMap::new();
    for finding in findings
        .iter()
        .filter(|finding| shows(finding, BlockAnswerObservation::SearchGuide))
    {
        if let Some(told) = told(finding) {
            guides.entry(told).or_default().push(finding.conversation.server.ip);
        }
    }
    if guides.is_empty() && !findings.iter().any(|finding| finding.kind == Kind::DnsBlockAnswer) {
        return;
    }
    let mut lies: BTreeMap<Told, Vec<IpAddr>> = BTreeMap::new();
    for finding in findings
        .iter_mut()
        .filter(|finding| finding.kind == Kind::DnsBlockAnswer)
    {
        let Some(told) = told(finding) else { continue };
        let given: Vec<IpAddr> = addresses(finding).collect();
        if guides
            .get(&told)
            .is_some_and(|servers| servers.iter().any(|server| given.contains(server)))
        {
            add(finding, BlockAnswerObservation::LeadsToSearchGuide);
        }
        // A search engine's own locked page is the engine's own.
        if finding.verdict() >= Some(Verdict::Likely) && !shows(finding, BlockAnswerObservation::ForcedSafeSearch) {
            lies.entry(told).or_default().extend(given);
        }
    }
    for finding in findings.iter_mut().filter(|finding| finding.kind == Kind::BlockPage) {
        let server = finding.conversation.server.ip;
        let lied = told(finding).is_some_and(|told| lies.get(&told).is_some_and(|given| given.contains(&server)));
        if lied {
            add(finding, BlockAnswerObservation::AddressFromLie);
        }
    }
}

fn told(finding: &Finding) -> Option<Told> {
    let name = finding.trigger.as_ref()?.name.as_deref()?;
    Some((finding.conversation.client.ip, name.to_ascii_lowercase()))
}

/// The addresses of a block answer, as its description tells them.
fn addresses(finding: &Finding) -> impl Iterator<Item = IpAddr> {
    let answers = finding.particulars.forged_answers.iter();
    answers.filter_map(|answer| answer.rsplit(' ').next()?.parse().ok())
}

fn shows(finding: &Finding, observation: BlockAnswerObservation) -> bool {
    let sought = Observation::BlockAnswer(observation);
    finding.evidence.iter().any(|item| item.observation == sought)
}

fn add(finding: &mut Finding, observation: BlockAnswerObservation) {
    finding
        .evidence
        .push(Evidence::at(Observation::BlockAnswer(observation), &[]));
}
