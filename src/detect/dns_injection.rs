//! `dns_injection`: a DNS answer its claimed sender did not give.
//!
//! # What it sees
//! Questions and answers on port 53, over UDP and TCP: what was asked, every answer to it and what its packet looked
//! like, and how the same server usually answers the same client. Multicast DNS, LLMNR and NetBIOS are left alone: there
//! anybody may answer.
//!
//! # How it tells
//! A server answers a question once. Two answers that differ (other addresses, another alias, another response code) to
//! a question asked once convict (two benign servers in 27 million transactions: Duan et al. 2012). Which of them is forged is told
//! by what they say (addresses no public host has, addresses known from filters, records of another type, malformed
//! messages, "no such name" without the zone's SOA record, authority or a lack of EDNS unlike the server) and by their
//! packets (IP id taken from the question, TTL, don't-fragment bit, IP ids and link address unlike the server's other
//! packets, constants of known devices, an answer sooner than the server can be reached). The genuine answer may well
//! come first. A single answer convicts only where several independent signs meet.
//!
//! # What it mistakes
//! Where nothing but their content tells two answers apart, the earlier is called forged, and the verdict stays at
//! `likely`: that one was forged is sure enough, which one is a guess. A resolver that itself lies, for a filter it runs
//! or was told to run, gives one answer with its own marks: that is no injection, and is told as `dns_block_answer`. Private
//! addresses by themselves accuse nobody: houses, advertisement blockers and captive portals give them. A question asked
//! twice may get two answers; so may one put to a forwarder in a private network, one whose first answer was a failure,
//! and one whose answers lie in one network: then only foreign packet marks convict. An in-path box that swallows the
//! question and answers with the server's own TTL, at its own pace, with a plausible address, is not seen.
//!
//! # References
//! Duan et al., "Hold-On: Protecting Against On-Path DNS Poisoning", 2012. Hoang et al., "How Great is the Great
//! Firewall?", USENIX Security 2021. Anonymous et al., "Triplet Censors", FOCI 2020. OONI ts-012, tq-001. RFC 1035, 2308,
//! 6761, 6891, 8914. wire-facts sections 3, 4 and 6.

use crate::detect::detector::{Attention, Carried, Conclusion, Detector, Ending, Sighting};
use crate::detect::packs::facts::Facts;
use crate::detect::packs::pack::Pack;
use crate::finding::docket::Docket;
use crate::finding::evidence::BlockAnswerObservation;
use crate::finding::finding::{Kind, Party};
use crate::finding::verdict::Verdict;
use crate::flow::flow::Flow;
use crate::packet::packet::{Datagram, Segment};
use crate::payload::dns_message::{DnsMessage, Framed, framed};

mod block_answer;
mod case;
mod devices;
mod exchange;
mod resolver_habits;
#[cfg(test)]
mod stories;
mod weigh;

use case::{Circumstances, background, investigate};
pub use exchange::Exchanges;
use exchange::{Answer, AskedBy, Noted, Oddness, case_hash};
use resolver_habits::Place;
pub use resolver_habits::ResolverHabits;
use weigh::{intrinsic, unlike_others};

/// DNS over UDP and TCP (RFC 1035 section 4.2).
const PORT: u16 = 53;

/// A suspicion is settled once its answers are this old, or by a verdict of `likely` at once; otherwise it waits for the
/// end of the flow [E].
const RIPE: std::time::Duration = std::time::Duration::from_millis(500);

/// How many messages of one TCP segment are read.
const MESSAGES: usize = 8;

/// Finds forged DNS answers.
#[derive(Clone, Debug, Default)]
pub struct DnsInjection {
    /// What is known of forged answers.
    pub facts: Facts,
}

impl Detector for DnsInjection {
    const KIND: Kind = Kind::DnsInjection;
    type Memory = Exchanges;
    type Habits = ResolverHabits;

    fn habits(&self) -> ResolverHabits {
        ResolverHabits::default()
    }

    fn observe(&self, sighting: &Sighting<'_>, exchanges: &mut Exchanges, habits: &mut ResolverHabits) -> Attention {
        let (from, to) = (sighting.packet.from.port, sighting.packet.to.port);
        if from != PORT && to != PORT {
            return Attention::Idle;
        }
        match sighting.carried {
            Carried::Datagram(datagram) => see_datagram(sighting, datagram, self.facts.pack(), exchanges, habits),
            Carried::IcmpError(_) => Attention::Idle,
            Carried::Segment(segment) if segment.payload.is_empty() || segment.flags.rst() => Attention::Idle,
            Carried::Segment(segment) => see_segment(sighting, segment, self.facts.pack(), exchanges, habits),
        }
    }

    fn rests(&self, flow: &Flow, _memory: &Exchanges) -> bool {
        !flow.key().has_port(PORT)
    }

    fn conclude(
        &self,
        conclusion: &Conclusion<'_>,
        exchanges: &mut Exchanges,
        habits: &mut ResolverHabits,
        docket: &mut Docket,
    ) {
        if exchanges.questions.is_empty() {
            return;
        }
        let over = conclusion.ending != Ending::SuspicionDue;
        if exchanges
            .questions
            .iter()
            .any(|question| question.suspicious && !question.filed)
        {
            settle(conclusion, exchanges, habits, self.facts.pack(), docket, over);
        }
        if over {
            for question in &exchanges.questions {
                if question.asked.is_some() && exchanges.answers_to(question.id).next().is_none() {
                    habits.count_unanswered();
                }
            }
            exchanges.bequeath(habits.spare());
        }
    }
}

/// Files what the suspicious questions amount to.
fn settle(
    conclusion: &Conclusion<'_>,
    exchanges: &mut Exchanges,
    habits: &ResolverHabits,
    pack: &Pack,
    docket: &mut Docket,
    over: bool,
) {
    let conversation = conclusion.flow.conversation();
    let circumstances = Circumstances {
        conversation: &conversation,
        pack,
        resolver: habits.get(conversation.client.ip, conversation.server.ip),
        opening_ttl: opening_ttl(conclusion.flow),
    };
    let mut order: Vec<usize> = (0..exchanges.questions.len()).collect();
    order.sort_unstable_by_key(|at| exchanges.questions[*at].id);
    for at in order {
        let question = &exchanges.questions[at];
        if question.filed || !question.suspicious {
            continue;
        }
        let ripe = over || conclusion.at.since(question.last) >= RIPE;
        let injected = investigate(question, exchanges, &circumstances);
        let own = block_answer::investigate(question, exchanges, &circumstances);
        let Some(finding) = block_answer::choose(injected, own) else {
            continue;
        };
        let sure = finding.verdict() >= Some(Verdict::Likely);
        // What is told of the resolver itself may wait: its later answers show what its own look like.
        if sure || over || (ripe && finding.kind == Kind::DnsInjection) {
            docket.file(finding);
            exchanges.questions[at].filed = true;
        }
    }
}

fn opening_ttl(flow: &Flow) -> Option<u8> {
    let opening = flow.side(Party::Server).profile.opening()?;
    flow.is_tcp().then_some(opening.ttl)
}

fn see_datagram(
    sighting: &Sighting<'_>,
    datagram: &Datagram<'_>,
    pack: &Pack,
    exchanges: &mut Exchanges,
    habits: &mut ResolverHabits,
) -> Attention {
    let snapped = datagram.payload.len() < datagram.payload_len as usize;
    match DnsMessage::read(datagram.payload) {
        Some(message) => see_message(sighting, &message, snapped, pack, exchanges, habits),
        None => Attention::Idle,
    }
}

/// Reads the messages of a segment that begins with one, as nearly all do; a message that is spread over several is not
/// read.
fn see_segment(
    sighting: &Sighting<'_>,
    segment: &Segment<'_>,
    pack: &Pack,
    exchanges: &mut Exchanges,
    habits: &mut ResolverHabits,
) -> Attention {
    let mut attention = Attention::Idle;
    for part in framed(segment.payload).take(MESSAGES) {
        let Framed::Message { bytes, .. } = part else { break };
        let Some(message) = DnsMessage::read(bytes) else { break };
        if see_message(sighting, &message, false, pack, exchanges, habits) == Attention::Suspicious {
            attention = Attention::Suspicious;
        }
    }
    attention
}

/// Zone transfers answer one question with many messages (RFC 5936, RFC 1995).
const TRANSFERS: std::ops::RangeInclusive<u16> = 251..=252;

fn see_message(
    sighting: &Sighting<'_>,
    message: &DnsMessage<'_>,
    snapped: bool,
    pack: &Pack,
    exchanges: &mut Exchanges,
    habits: &mut ResolverHabits,
) -> Attention {
    let packet = sighting.packet;
    let question = message.question();
    if message.opcode() != 0 || question.is_some_and(|question| TRANSFERS.contains(&question.qtype.0)) {
        return Attention::Idle;
    }
    if !message.is_response() {
        if packet.to.port == PORT && question.is_some() {
            exchanges.ask(message, asked_by(sighting, message), habits.spare());
        }
        return Attention::Idle;
    }
    if packet.from.port != PORT {
        return Attention::Idle;
    }
    let mut answer = Answer::read(message, packet.frame.number, packet.frame.at, packet.marks, snapped);
    answer.overlap = sighting.conflict.map(|conflict| (conflict.differing, conflict.earlier));
    let place = habits.place(packet.to.ip, packet.from.ip);
    let profile = &habits.at(place).profile;
    answer.fits_counter = packet.marks.ip_id.and_then(|id| profile.continues_counter(id));
    let (at, noted) = exchanges.answer(message, answer, habits.spare());
    if noted != Noted::New {
        return Attention::Idle;
    }
    learn(sighting, at, place, pack, exchanges, habits)
}

/// Weighs the newest answer, learns it if it is the server's own for all we know, and says whether it is suspicious.
fn learn(
    sighting: &Sighting<'_>,
    at: usize,
    place: Place,
    pack: &Pack,
    exchanges: &mut Exchanges,
    habits: &mut ResolverHabits,
) -> Attention {
    let packet = sighting.packet;
    let question = &exchanges.questions[at];
    let Some(answer) = exchanges.answers.last() else {
        return Attention::Idle;
    };
    let conversation = sighting.flow.conversation();
    let circumstances = Circumstances {
        conversation: &conversation,
        pack,
        resolver: Some(habits.at(place)),
        opening_ttl: opening_ttl(sighting.flow),
    };
    let mut known = background(exchanges, answer, &circumstances);
    known.server = packet.from.ip;
    known.learnt = false;
    let convicting = |observations: &[crate::finding::evidence::Observation]| {
        observations.iter().any(|observation| observation.weight().llr() > 0.0)
    };
    let oddness = Oddness {
        intrinsic: convicting(&intrinsic(question, answer, &known)) || answer.overlap.is_some(),
        unlike_others: convicting(&unlike_others(question, answer, &known)),
    };
    let others = || {
        exchanges
            .answers_to(question.id)
            .filter(|other| other.frame != answer.frame)
    };
    let first = others().next().is_none();
    let differs = others().any(|other| other.differs_from(answer) || other.marks.ttl.abs_diff(answer.marks.ttl) > 1);
    habits.learn_named(&answer.addresses);
    let resolver = habits.at_mut(place);
    let made_up = block_answer::improbable(question, answer);
    let speaks = made_up.is_some()
        || block_answer::may_block(question, answer)
        || block_answer::is_of_made_up_names(answer, Some(&*resolver));
    let suspicious = oddness.any() || differs || speaks;
    if let Some(address) = answer.addresses.first() {
        resolver.learn_address(question.name_hash, *address);
    }
    if answer.is_bogon() || made_up == Some(BlockAnswerObservation::ImpossibleName) {
        for address in &answer.addresses {
            resolver.learn_sink(*address, block_answer::domain_hash(&question.name));
        }
    }
    if let Some(asked) = &question.asked {
        resolver.learn_id(asked, answer);
    }
    if !oddness.intrinsic {
        resolver.learn(answer, question.asked.as_ref());
    }
    if first && question.asked.is_some() {
        habits.count_answered();
    }
    exchanges.questions[at].suspicious |= suspicious;
    if let Some(answer) = exchanges.answers.last_mut() {
        answer.oddness = oddness;
    }
    if suspicious {
        Attention::Suspicious
    } else {
        Attention::Idle
    }
}

fn asked_by(sighting: &Sighting<'_>, message: &DnsMessage<'_>) -> AskedBy {
    let packet = sighting.packet;
    let name = message.question().map(|question| question.name);
    AskedBy {
        frame: packet.frame.number,
        at: packet.frame.at,
        marks: packet.marks,
        edns: message.survey().opt.is_some(),
        recursion_desired: message.recursion_desired(),
        mixes_case: name.is_some_and(|name| name.mixes_case()),
        case_hash: name.map_or(0, case_hash),
    }
}
