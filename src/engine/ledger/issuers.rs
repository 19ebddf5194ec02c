//! Who else vouched for a name, and what other names of the same server showed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::finding::evidence::{Evidence, IssuerChange, Observation, TlsObservation};
use crate::finding::finding::{Finding, Kind};
use crate::finding::tls_shown::{Agreed, Origin, Standing, TlsShown};
use crate::packet::frame::FrameNumber;

/// Handshakes of one client looked at for one finding.
const MOST_COMPARED: usize = 4096;

/// Other names must have shown their hello so often before a hello from elsewhere means anything.
const LEAST_OTHERS: u32 = 2;

/// The TLS handshakes of a capture, by who asked.
#[derive(Debug)]
pub(super) struct Issuers<'a> {
    by_client: BTreeMap<IpAddr, Vec<&'a TlsShown>>,
    by_flow: BTreeMap<FrameNumber, &'a TlsShown>,
}

impl<'a> Issuers<'a> {
    /// `shown` are in capture order.
    pub(super) fn of(shown: &'a [TlsShown]) -> Self {
        let mut by_client = BTreeMap::<_, Vec<_>>::new();
        for shown in shown {
            by_client.entry(shown.client).or_default().push(shown);
        }
        Self {
            by_client,
            by_flow: shown.iter().map(|shown| (shown.flow, shown)).collect(),
        }
    }

    /// Compares an intercepted handshake with the others of the same client: what others get may be another matter.
    pub(super) fn compare(&self, finding: &mut Finding) {
        if finding.kind != Kind::TlsInterception {
            return;
        }
        let Some(own) = self.by_flow.get(&finding.conversation.first_frame) else {
            return;
        };
        let of_client = self.by_client.get(&own.client).map_or(&[][..], Vec::as_slice);
        let of_client = &of_client[..of_client.len().min(MOST_COMPARED)];
        let mut add = |observation| finding.evidence.push(Evidence::at(Observation::Tls(observation), &[]));
        if own.standing > Standing::Public
            && own.name != 0
            && let Some((flows, how)) = issuer_change(own, of_client)
        {
            add(TlsObservation::IssuerChanges { flows, how });
        }
        let at_server = || of_client.iter().filter(|other| other.server == own.server);
        let of_others = || at_server().filter(|other| other.name != own.name && other.name != 0);
        let count = |flows: usize| u32::try_from(flows).unwrap_or(u32::MAX);
        let others_public = count(of_others().filter(|other| other.standing == Standing::Public).count());
        if own.standing == Standing::Interceptor && others_public > 0 {
            add(TlsObservation::OthersKeepTheirs { flows: others_public });
        }
        let newer = count(
            at_server()
                .filter(|other| other.name == own.name && other.agreed == Agreed::Tls13)
                .count(),
        );
        if own.agreed == Agreed::Fell && own.name != 0 && newer > 0 {
            add(TlsObservation::VersionFell { flows: newer });
        }
        let from_server = count(
            of_others()
                .filter(|other| other.origin == Origin::AsTheHandshake)
                .count(),
        );
        if own.origin == Origin::Elsewhere
            && from_server >= LEAST_OTHERS
            && of_others().all(|other| other.origin == Origin::AsTheHandshake)
        {
            add(TlsObservation::OthersFromTheServer { flows: from_server });
        }
    }
}

/// In how many flows of the same client a public authority vouched for the same name, and how that came about.
fn issuer_change(own: &TlsShown, of_client: &[&TlsShown]) -> Option<(u32, IssuerChange)> {
    let same_name = || of_client.iter().filter(|other| other.name == own.name);
    let public = same_name().filter(|other| other.standing == Standing::Public).count();
    if public == 0 {
        return None;
    }
    let mut changes = 0;
    let mut before = None;
    for other in same_name().filter(|other| other.server == own.server && other.standing != Standing::Unseen) {
        let is_public = other.standing == Standing::Public;
        changes += u32::from(before.is_some_and(|before| before != is_public));
        before = Some(is_public);
    }
    let how = match changes {
        0 => IssuerChange::OtherAddress,
        1 => IssuerChange::Once,
        _ => IssuerChange::BackAndForth,
    };
    Some((public as u32, how))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::finding::{Application, Conversation, Particulars, Position, Protocol};
    use crate::finding::verdict::{Prior, Verdict};
    use crate::packet::endpoint::Endpoint;
    use crate::time::Timestamp;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));
    const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));

    fn shown(flow: u64, name: u64, standing: Standing) -> TlsShown {
        TlsShown {
            flow: FrameNumber::new(0, flow),
            client: CLIENT,
            server: SERVER,
            name,
            agreed: Agreed::Older,
            standing,
            origin: Origin::AsTheHandshake,
        }
    }

    /// What comes of an intercepted handshake that began with frame `flow`, among `all`.
    fn verdict(all: &[TlsShown], flow: u64, observation: TlsObservation, prior: Prior) -> Option<Verdict> {
        let frame = FrameNumber::new(0, flow);
        let mut finding = Finding {
            kind: Kind::TlsInterception,
            conversation: Conversation {
                client: Endpoint::new(CLIENT, 50_000),
                server: Endpoint::new(SERVER, 443),
                protocol: Protocol::Tcp,
                application: Application::Tls,
                vlan: None,
                first_frame: frame,
                started: Timestamp::EPOCH,
            },
            decided_by: frame,
            at: Timestamp::EPOCH,
            stage: None,
            signature: None,
            claimed_sender: None,
            position: Position::InPath,
            trigger: None,
            forged: vec![frame],
            genuine: Vec::new(),
            dropped: Vec::new(),
            prior,
            evidence: vec![Evidence::at(Observation::Tls(observation), &[frame])],
            injector: None,
            particulars: Particulars::default(),
        };
        Issuers::of(all).compare(&mut finding);
        finding.verdict()
    }

    #[test]
    fn a_private_authority_alone_is_no_accusation() {
        use Standing::{Product, Public, Unlisted};
        let alone = [shown(1, 7, Unlisted), shown(2, 8, Public), shown(3, 7, Unlisted)];
        let observation = TlsObservation::UnlistedIssuer;
        assert_eq!(verdict(&alone, 1, observation, Prior::Ordinary), None);
        let product = [shown(1, 7, Product), shown(2, 8, Product)];
        assert_eq!(
            verdict(&product, 1, TlsObservation::ProductIssuer, Prior::Ordinary),
            None
        );
    }

    #[test]
    fn a_server_that_gets_a_public_certificate_is_not_accused() {
        use Standing::{Public, Unlisted};
        let renewed = [shown(1, 7, Unlisted), shown(2, 7, Public), shown(3, 7, Public)];
        let observation = TlsObservation::UnlistedIssuer;
        assert_eq!(verdict(&renewed, 1, observation, Prior::Ordinary), None);
        let mut elsewhere = renewed;
        elsewhere[1].server = IpAddr::from([198, 51, 100, 8]);
        elsewhere[2].server = IpAddr::from([198, 51, 100, 8]);
        assert_eq!(verdict(&elsewhere, 1, observation, Prior::Ordinary), None);
    }

    #[test]
    fn issuers_that_go_back_and_forth_at_one_address_are_possible_interception() {
        use Standing::{Public, Unlisted};
        let mut back = [shown(1, 7, Public), shown(2, 7, Unlisted), shown(3, 7, Public)];
        let observation = TlsObservation::UnlistedIssuer;
        assert_eq!(verdict(&back, 2, observation, Prior::Ordinary), Some(Verdict::Possible));
        // Another client's certificates are another matter.
        back[0].client = SERVER;
        back[2].client = SERVER;
        assert_eq!(verdict(&back, 2, observation, Prior::Ordinary), None);
    }

    #[test]
    fn a_known_interceptor_is_likely_and_certain_once_other_names_are_let_be() {
        let observation = TlsObservation::KnownInterceptor { confidence: 10 };
        let mut both = [shown(1, 7, Standing::Interceptor), shown(2, 8, Standing::Interceptor)];
        let told = |all: &[TlsShown]| verdict(all, 1, observation, Prior::Abnormal);
        assert_eq!(told(&both), Some(Verdict::Likely));
        both[1].standing = Standing::Public;
        assert_eq!(told(&both), Some(Verdict::Confirmed));
    }

    #[test]
    fn a_hello_from_elsewhere_needs_other_names_that_come_from_the_server() {
        let (hello, opening) = (60, 50);
        let observation = TlsObservation::HelloFromElsewhere { hello, opening };
        let mut all = [1, 2, 3].map(|flow| shown(flow, flow, Standing::Unseen));
        all[0].origin = Origin::Elsewhere;
        let told = |all: &[TlsShown]| verdict(all, 1, observation, Prior::Ordinary);
        assert_eq!(told(&all), Some(Verdict::Possible));
        // A proxy in front of the server concerns all names.
        all[2].origin = Origin::Elsewhere;
        assert_eq!(told(&all), None);
    }
}
