//! Servers that fall silent after a notice: what they do where other names are asked for, and who else sends the same.
//!
//! A box that rewrites a server's own packet leaves the marks of that server on it. What it cannot do is close the
//! stream: the server knows nothing of the FIN it is said to have sent, so that the box has to swallow all that follows.
//! One TCP serves all names of a server, and answers whoever closes, whatever was asked for. A box that lets the rest pass
//! betrays itself where its notice is shorter than what it replaces: by the same hole behind every one of them. That a
//! server runs on at all is a matter of the program behind a name, and says little.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::domain;
use crate::engine::baselines::DomainId;
use crate::engine::trace::{Fate, FlowTrace};
use crate::finding::evidence::{Evidence, NoticeObservation, Observation};
use crate::finding::finding::{Finding, Kind};
use crate::packet::endpoint::Endpoint;
use crate::time::Timestamp;

/// A flow that goes on without its server for so long has been left alone by it: a close is answered within a round trip,
/// and first repeated after one and 200 ms more (RFC 6298, as Linux does).
const LEFT_ALONE: Duration = Duration::from_millis(900);

/// Silent flows that must be seen before they are held against what others came to.
const SILENT: u32 = 2;

/// Answers behind which a server ran on that must be seen before others are compared.
const RUNS: u32 = 2;

/// Holes that are no longer an accident, if there is one every time.
const HOLES: u32 = 2;

/// Flows for other names that must have ended in order.
const OTHERS: u32 = 2;

/// More than one in so many of a client's flows are left alone often: three in a row are one in a thousand then.
const OFTEN: u32 = 10;

/// The notices of a capture, and how the same clients' other flows ended.
#[derive(Debug, Default)]
pub(super) struct Notices {
    by_name: BTreeMap<(IpAddr, DomainId), u32>,
    /// The first silence, by client and server: a server that bans a client is silent from then on.
    since: BTreeMap<(IpAddr, IpAddr), Timestamp>,
    /// What else came of flows between them, by the name asked for.
    otherwise: BTreeMap<(IpAddr, IpAddr), BTreeMap<DomainId, Ends>>,
    /// How a client's flows ended that brought no notice, wherever they went.
    elsewhere: BTreeMap<IpAddr, Ends>,
    /// Who sent the same redirect, for which names.
    redirects: BTreeMap<String, (BTreeSet<Network>, BTreeSet<DomainId>)>,
    /// Answers behind which their server ran on, by server and name.
    run_on: BTreeMap<IpAddr, BTreeMap<DomainId, RunsOn>>,
    /// Flows in which servers that ran on served as they should, by name.
    served: BTreeMap<IpAddr, BTreeMap<DomainId, u32>>,
}

/// How many answers ran on, and behind how many of them there was a hole.
#[derive(Clone, Copy, Debug, Default)]
struct RunsOn {
    all: u32,
    holes: u32,
}

/// How flows that were served ended.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    in_order: u32,
    left_alone: u32,
    /// When the server was last heard in one of those that ended in order.
    heard: Option<Timestamp>,
}

impl Ends {
    fn add(&mut self, left_alone: bool, heard: Timestamp) {
        if left_alone {
            self.left_alone += 1;
        } else {
            self.in_order += 1;
            self.heard = self.heard.max(Some(heard));
        }
    }
}

/// A network whose addresses have one holder as a rule.
type Network = (bool, u32);

impl Notices {
    pub(super) fn of(findings: &[Finding], traces: &[FlowTrace]) -> Self {
        let mut notices = Self::default();
        let mut silent = BTreeSet::<(Endpoint, Endpoint)>::new();
        let mut ran_on = BTreeSet::<(Endpoint, Endpoint)>::new();
        for finding in findings {
            let (client, server) = (finding.conversation.client, finding.conversation.server);
            let (falls_silent, has_hole) = (falls_silent(finding), has_hole(finding));
            if runs_on(finding) {
                ran_on.insert((client, server));
                if let Some(domain) = domain(finding) {
                    let told = notices.run_on.entry(server.ip).or_default().entry(domain).or_default();
                    told.all += 1;
                    told.holes += u32::from(has_hole);
                }
            }
            if (falls_silent || has_hole)
                && let (Some(location), Some(domain)) = (foreign_redirect(finding), domain(finding))
            {
                let (networks, domains) = notices.redirects.entry(location.to_owned()).or_default();
                networks.insert(network(server.ip));
                domains.insert(domain);
            }
            if !falls_silent {
                continue;
            }
            let since = notices.since.entry((client.ip, server.ip)).or_insert(finding.at);
            *since = (*since).min(finding.at);
            silent.insert((client, server));
            let Some(domain) = domain(finding) else { continue };
            *notices.by_name.entry((server.ip, domain)).or_default() += 1;
        }
        if silent.is_empty() && ran_on.is_empty() {
            return notices;
        }
        let clients: BTreeSet<IpAddr> = notices.since.keys().map(|(client, _)| *client).collect();
        for trace in traces.iter().filter(|trace| trace.fate == Fate::Served) {
            let (client, server) = (trace.client, trace.server);
            if notices.run_on.contains_key(&server.ip) && !ran_on.contains(&(client, server)) {
                let served = notices.served.entry(server.ip).or_default();
                if let Some(domain) = trace.domain {
                    *served.entry(domain).or_default() += 1;
                }
            }
            if !clients.contains(&client.ip) || silent.contains(&(client, server)) {
                continue;
            }
            let left_alone = trace.ended.since(trace.heard) >= LEFT_ALONE;
            notices
                .elsewhere
                .entry(client.ip)
                .or_default()
                .add(left_alone, trace.heard);
            let Some(domain) = trace.domain else { continue };
            if notices.since.contains_key(&(client.ip, server.ip)) {
                let between = notices.otherwise.entry((client.ip, server.ip)).or_default();
                between.entry(domain).or_default().add(left_alone, trace.heard);
            }
        }
        notices
    }

    pub(super) fn compare(&self, finding: &mut Finding) {
        let found = match (falls_silent(finding), runs_on(finding)) {
            (true, _) => [self.for_this_name(finding), self.by_strangers(finding)],
            (false, true) if has_hole(finding) => [self.every_time(finding), self.by_strangers(finding)],
            (false, true) => [self.runs_on_for_this_name(finding), None],
            (false, false) => return,
        };
        for observation in found.into_iter().flatten() {
            finding
                .evidence
                .push(Evidence::at(Observation::Notice(observation), &[]));
        }
    }

    fn for_this_name(&self, finding: &Finding) -> Option<NoticeObservation> {
        let (client, server) = (finding.conversation.client.ip, finding.conversation.server.ip);
        let domain = domain(finding)?;
        let flows = self.by_name.get(&(server, domain)).copied().unwrap_or(0);
        // Where many flows are left alone without a notice, as by a box that forgets them, their end tells nothing of names.
        let elsewhere = self.elsewhere.get(&client)?;
        let often = elsewhere.left_alone * OFTEN > elsewhere.in_order + elsewhere.left_alone;
        let between = self.otherwise.get(&(client, server))?;
        if flows < SILENT || often || between.contains_key(&domain) {
            return None;
        }
        let others = between.values().map(|ends| ends.in_order).sum();
        let heard = between.values().filter_map(|ends| ends.heard).max();
        let all_in_order = between.values().all(|ends| ends.left_alone == 0);
        // A firewall in front of the server that no longer lets this client in does so whatever it asks for.
        let still_welcome = heard > self.since.get(&(client, server)).copied();
        (all_in_order && still_welcome && others >= OTHERS)
            .then_some(NoticeObservation::SilentForThisName { flows, others })
    }

    fn every_time(&self, finding: &Finding) -> Option<NoticeObservation> {
        let told = self
            .run_on
            .get(&finding.conversation.server.ip)?
            .get(&domain(finding)?)?;
        (told.holes >= HOLES && told.holes == told.all)
            .then_some(NoticeObservation::HoleEveryTime { flows: told.holes })
    }

    fn runs_on_for_this_name(&self, finding: &Finding) -> Option<NoticeObservation> {
        let server = finding.conversation.server.ip;
        let names = self.run_on.get(&server)?;
        let flows = names.get(&domain(finding)?)?.all;
        let elsewise = self.served.get(&server)?.iter();
        let others = elsewise
            .filter(|(domain, _)| !names.contains_key(domain))
            .map(|(_, flows)| flows)
            .sum();
        (flows >= RUNS && others >= OTHERS).then_some(NoticeObservation::RunsOnForThisName { flows, others })
    }

    fn by_strangers(&self, finding: &Finding) -> Option<NoticeObservation> {
        let (networks, domains) = self.redirects.get(foreign_redirect(finding)?)?;
        let servers = networks.len().min(domains.len()) as u32;
        (servers >= 2).then_some(NoticeObservation::SameFromStrangers { servers })
    }
}

/// Whether this is a notice after which its server fell silent.
fn falls_silent(finding: &Finding) -> bool {
    let silent = |item: &Evidence| matches!(item.observation, Observation::SilentAfterAnswer { .. });
    finding.kind == Kind::BlockPage && finding.evidence.iter().any(silent)
}

/// Whether this is a notice behind which its server goes on.
fn runs_on(finding: &Finding) -> bool {
    let runs_on = |item: &Evidence| matches!(item.observation, Observation::Notice(NoticeObservation::RunsOn { .. }));
    finding.kind == Kind::BlockPage && finding.evidence.iter().any(runs_on)
}

/// Whether bytes are missing between this notice and what its server sends next.
fn has_hole(finding: &Finding) -> bool {
    let hole = |item: &Evidence| {
        matches!(
            item.observation,
            Observation::Notice(NoticeObservation::HoleBehind { .. })
        )
    };
    finding.kind == Kind::BlockPage && finding.evidence.iter().any(hole)
}

/// Where it redirects to, if to another site.
fn foreign_redirect(finding: &Finding) -> Option<&str> {
    let foreign = |item: &Evidence| item.observation == Observation::ForeignRedirect;
    finding
        .particulars
        .location
        .as_deref()
        .filter(|_| finding.evidence.iter().any(foreign))
}

/// The first 16 bits of an IPv4 address, the first 32 of an IPv6 address: what registries give to one holder.
fn network(address: IpAddr) -> Network {
    match address {
        IpAddr::V4(address) => (false, u32::from(address) >> 16),
        IpAddr::V6(address) => (true, (u128::from(address) >> 96) as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::finding::Protocol;
    use crate::packet::frame::FrameNumber;
    use crate::report::sample;

    const SITE: [u8; 4] = [45, 140, 16, 10];

    fn seconds(at: u64) -> Timestamp {
        Timestamp::from_nanos(at * 1_000_000_000)
    }

    fn endpoint(ip: [u8; 4], port: u16) -> Endpoint {
        Endpoint {
            ip: IpAddr::from(ip),
            port,
        }
    }

    fn client(port: u16) -> Endpoint {
        endpoint([10, 20, 0, 5], port)
    }

    /// A notice for `name` in the name of `server` at second `at`, after which the server was silent.
    fn notice(server: [u8; 4], name: &str, at: u64) -> Finding {
        let mut finding = sample::page();
        finding.conversation.client = client(at as u16);
        finding.conversation.server = endpoint(server, 80);
        finding.at = seconds(at);
        finding.trigger.as_mut().unwrap().name = Some(name.to_owned());
        finding.evidence = vec![
            Evidence::at(Observation::SilentAfterAnswer { repeated: 4 }, &[]),
            Evidence::at(Observation::ForeignRedirect, &[]),
        ];
        finding
    }

    /// A flow that was served from second `at` on and went on without its server for `alone`.
    fn served(name: &str, at: u64, alone: Duration) -> FlowTrace {
        FlowTrace {
            protocol: Protocol::Tcp,
            client: client(at as u16),
            server: endpoint(SITE, 443),
            first_frame: FrameNumber::new(0, at),
            began: seconds(at),
            ended: seconds(at).plus(alone),
            fate: Fate::Served,
            heard: seconds(at),
            carried: 2000,
            took: Duration::ZERO,
            silence: Duration::ZERO,
            domain: Some(DomainId::of(name)),
            hides: None,
        }
    }

    fn told(mut findings: Vec<Finding>, traces: &[FlowTrace]) -> Vec<Option<NoticeObservation>> {
        let notices = Notices::of(&findings, traces);
        let of = |finding: &mut Finding| {
            notices.compare(finding);
            finding.evidence.iter().find_map(|item| match item.observation {
                Observation::Notice(observation) => Some(observation),
                _ => None,
            })
        };
        findings.iter_mut().map(of).collect()
    }

    const IN_ORDER: Duration = Duration::from_millis(30);

    fn three() -> Vec<Finding> {
        (10..13).map(|at| notice(SITE, "blocked.example", at)).collect()
    }

    #[test]
    fn a_server_that_is_silent_for_one_name_only_is_told() {
        let others = [
            served("news.example", 1, IN_ORDER),
            served("shop.example", 20, IN_ORDER),
        ];
        let expected = NoticeObservation::SilentForThisName { flows: 3, others: 2 };
        assert_eq!(told(three(), &others), [Some(expected); 3]);
    }

    #[test]
    fn a_silence_that_does_not_depend_on_the_name_is_not_told() {
        let news = served("news.example", 1, IN_ORDER);
        let late = served("news.example", 20, IN_ORDER);
        let long = Duration::from_secs(3);
        let cases: [(&str, Vec<FlowTrace>); 5] = [
            ("nothing else was asked for", vec![]),
            ("the client is let in no more", vec![news, news]),
            (
                "the name is served too",
                vec![news, late, served("www.blocked.example", 5, IN_ORDER)],
            ),
            (
                "others are left alone there, if rarely",
                [vec![news; 12], vec![late, served("shop.example", 21, long)]].concat(),
            ),
            ("one other flow is an accident", vec![late]),
        ];
        for (what, traces) in cases {
            assert_eq!(told(three(), &traces), [None; 3], "{what}");
        }
        // A box that forgets flows does so wherever they go.
        let mut elsewhere = served("mail.example", 22, long);
        elsewhere.server = endpoint([103, 224, 9, 80], 443);
        assert_eq!(told(three(), &[news, late, elsewhere]), [None; 3]);
        // One silence may be an accident.
        assert_eq!(told(three().split_off(2), &[news, late]), [None]);
    }

    #[test]
    fn one_redirect_by_unrelated_servers_is_told() {
        let by = |servers: &[[u8; 4]], names: &[&str]| {
            let pairs = servers.iter().zip(names).zip(1..);
            told(
                pairs.map(|((server, name), at)| notice(*server, name, at)).collect(),
                &[],
            )
        };
        let strangers = [SITE, [103, 224, 9, 80], [103, 225, 1, 1]];
        let names = ["blocked.example", "forum.example", "library.example"];
        let expected = NoticeObservation::SameFromStrangers { servers: 3 };
        assert_eq!(by(&strangers, &names), [Some(expected); 3]);
        // One holder's addresses, and one owner's names, are no strangers to each other.
        assert_eq!(by(&[SITE, [45, 140, 99, 1], [45, 140, 3, 1]], &names), [None; 3]);
        let own = ["www.blocked.example", "news.blocked.example", "blocked.example"];
        assert_eq!(by(&strangers, &own), [None; 3]);
    }

    /// An answer for `name` in the name of `server` at second `at`, behind which its server ran on, and what lies between.
    fn ran_on(server: [u8; 4], name: &str, at: u64, hole: Option<u32>) -> Finding {
        let mut finding = notice(server, name, at);
        finding.evidence.remove(0);
        let hole = hole.map(|bytes| NoticeObservation::HoleBehind { bytes });
        for observation in [NoticeObservation::RunsOn { by: 500 }].into_iter().chain(hole) {
            finding
                .evidence
                .push(Evidence::at(Observation::Notice(observation), &[]));
        }
        finding
    }

    /// What other flows add to each.
    fn added(mut findings: Vec<Finding>, traces: &[FlowTrace]) -> Vec<Option<NoticeObservation>> {
        let notices = Notices::of(&findings, traces);
        let of = |finding: &mut Finding| {
            let before = finding.evidence.len();
            notices.compare(finding);
            match finding.evidence.get(before)?.observation {
                Observation::Notice(observation) => Some(observation),
                _ => None,
            }
        };
        findings.iter_mut().map(of).collect()
    }

    #[test]
    fn a_hole_behind_every_answer_for_a_name_is_told() {
        let name = "blocked.example";
        let of = |holes: &[Option<u32>]| {
            let ran_on = holes.iter().zip(10..).map(|(hole, at)| ran_on(SITE, name, at, *hole));
            added(ran_on.collect(), &[])
        };
        let every = |flows| Some(NoticeObservation::HoleEveryTime { flows });
        assert_eq!(of(&[Some(900), Some(800)]), [every(2); 2]);
        assert_eq!(of(&[Some(900)]), [None], "one may be a lost packet");
        assert_eq!(of(&[Some(900), None, Some(900)]), [None; 3], "not every time");
        let others = vec![ran_on(SITE, name, 1, Some(9)), ran_on(SITE, "a.example", 2, Some(9))];
        assert_eq!(added(others, &[]), [None; 2], "once for each name");
    }

    #[test]
    fn a_server_that_runs_on_for_one_name_only_is_told() {
        let two = || vec![ran_on(SITE, "a.example", 10, None), ran_on(SITE, "a.example", 11, None)];
        let others = [served("news.example", 1, IN_ORDER), served("shop.example", 2, IN_ORDER)];
        let told = Some(NoticeObservation::RunsOnForThisName { flows: 2, others: 2 });
        assert_eq!(added(two(), &others), [told; 2]);
        assert_eq!(added(two(), &others[1..]), [None; 2], "one other is an accident");
        assert_eq!(added(two().split_off(1), &others), [None], "once may be one");
        let own = served("www.a.example", 3, IN_ORDER);
        assert_eq!(added(two(), &[own, own]), [None; 2], "no other was asked for");
        let mut elsewhere = others;
        elsewhere
            .iter_mut()
            .for_each(|trace| trace.server = endpoint([103, 224, 9, 80], 443));
        assert_eq!(added(two(), &elsewhere), [None; 2], "another server counts for itself");
        // Whatever is asked for: a program that counts wrong.
        let mut all = two();
        all.extend([
            ran_on(SITE, "news.example", 12, None),
            ran_on(SITE, "shop.example", 13, None),
        ]);
        assert_eq!(added(all, &others), [None; 4]);
    }

    #[test]
    fn one_redirect_by_unrelated_servers_that_run_on_needs_a_hole() {
        let by = |hole| {
            let servers = [SITE, [103, 224, 9, 80], [103, 225, 1, 1]];
            let names = ["blocked.example", "forum.example", "library.example"];
            let of = servers.iter().zip(names).zip(1..);
            added(
                of.map(|((server, name), at)| ran_on(*server, name, at, hole)).collect(),
                &[],
            )
        };
        let strangers = Some(NoticeObservation::SameFromStrangers { servers: 3 });
        assert_eq!(by(Some(900)), [strangers; 3]);
        assert_eq!(by(None), [None; 3], "one program may run at all of them");
    }
}
