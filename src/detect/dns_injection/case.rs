//! One question and its answers, put before the judge: which answers are forged, and what shows it.

use std::time::Duration;

use super::devices::{TtlHabit, ttl_habit};
use super::exchange::{Answer, Exchanges, Question};
use super::resolver_habits::Resolver;
use super::weigh::{Background, SURE, against, block_address, intrinsic, is_private, unlike_others, weight_of};
use crate::detect::packs::pack::Pack;
use crate::detect::packs::row::Scope;
use crate::finding::evidence::{AnswerExcuse, Evidence, Observation};
use crate::finding::finding::{
    Application, Conversation, Finding, Injector, Kind, Particulars, Party, Position, Trigger, TriggerKind,
};
use crate::finding::habits::{Habits, Varying};
use crate::finding::verdict::Prior;
use crate::packet::frame::FrameNumber;
use crate::payload::dns_message::Shape;

/// How much odder one answer must be than another, in nats, for us to say which of the two is forged [E].
const APART: f64 = 0.8;

/// An answer this odd is not taken for the genuine one even if no other is less odd [E]: an outright false address, or
/// a packet that does not look as the server's do.
const ODD: f64 = 4.0;

/// Findings weaker than this, in nats of log-odds, are not filed: other flows could not lift them to a verdict.
const WORTH_FILING: f64 = -1.0;

/// Steps of a server's packet counter within which two answers are of one counter.
const ONE_COUNTER: u16 = 2000;

/// What is known beside the question and its answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances<'a> {
    pub(super) conversation: &'a Conversation,
    /// What is known of forged answers.
    pub(super) pack: &'a Pack,
    pub(super) resolver: Option<&'a Resolver>,
    /// The TTL of the server's SYN-ACK (TCP).
    pub(super) opening_ttl: Option<u8>,
}

/// What is known of the server besides `answer`.
pub(super) fn background<'a>(
    exchanges: &Exchanges,
    answer: &Answer,
    circumstances: &Circumstances<'a>,
) -> Background<'a> {
    Background {
        pack: circumstances.pack,
        server: circumstances.conversation.server.ip,
        resolver: circumstances.resolver,
        flow_ttl: circumstances.opening_ttl.or_else(|| flow_ttl(exchanges, answer)),
        learnt: !answer.oddness.intrinsic,
    }
}

/// The TTL that the answers to the flow's other questions arrived with, if they agree.
fn flow_ttl(exchanges: &Exchanges, answer: &Answer) -> Option<u8> {
    /// Routes do change, but not between two questions [E].
    const FRESH: Duration = Duration::from_secs(60);
    let mut others = exchanges
        .answers
        .iter()
        .filter(|other| other.question != answer.question && !other.oddness.intrinsic)
        .filter(|other| answer.at.since(other.at).max(other.at.since(answer.at)) <= FRESH)
        .map(|other| other.marks.ttl);
    let first = others.next()?;
    others.all(|ttl| ttl.abs_diff(first) <= 1).then_some(first)
}

/// One answer under examination.
struct Suspect<'a> {
    answer: &'a Answer,
    wrong: super::weigh::Observations,
    unlike: super::weigh::Observations,
    score: f64,
}

/// The finding on `question`, if its answers are worth one.
pub(super) fn investigate(
    question: &Question,
    exchanges: &Exchanges,
    circumstances: &Circumstances<'_>,
) -> Option<Finding> {
    let suspects: Vec<Suspect<'_>> = exchanges
        .answers_to(question.id)
        .map(|answer| examine(question, answer, &background(exchanges, answer, circumstances)))
        .collect();
    let whole = || suspects.iter().filter(|suspect| !suspect.answer.is_truncated());
    let first = whole().next();
    let differ = first.is_some_and(|first| whole().any(|other| other.answer.differs_from(first.answer)));
    let finding = if differ {
        differing(question, &suspects, circumstances)
    } else {
        single(question, &suspects, exchanges, circumstances)
    }?;
    (finding.judgement().log_odds >= WORTH_FILING).then_some(finding)
}

fn examine<'a>(question: &Question, answer: &'a Answer, background: &Background<'_>) -> Suspect<'a> {
    let wrong = intrinsic(question, answer, background);
    let unlike = unlike_others(question, answer, background);
    let score = weight_of(&wrong) + weight_of(&unlike) + style(question, answer, background);
    Suspect {
        answer,
        wrong,
        unlike,
        score,
    }
}

/// Small signs that say nothing alone, but help to tell which of two answers is forged, in nats [E].
fn style(question: &Question, answer: &Answer, background: &Background<'_>) -> f64 {
    let asked = question.asked.as_ref();
    let mut score = 0.0;
    if asked.is_some_and(|asked| asked.recursion_desired) && answer.is_authoritative() {
        score += if answer.recursion_available() { 1.0 } else { 1.5 };
    }
    if asked.is_some_and(|asked| asked.edns) && !answer.edns && !answer.is_failure() {
        score += 1.0;
    }
    if answer.shape == Shape::BareAnswer {
        score += 0.4;
    }
    if answer.bare_negative {
        score += 1.0;
    }
    if answer.fits_counter == Some(true) {
        score -= 1.0;
    }
    if background
        .resolver
        .is_some_and(|resolver| resolver.is_usual_ttl(answer.marks.ttl))
    {
        score -= 1.0;
    }
    score
}

/// Whether the packets of two answers may well be of one host.
fn marks_agree(one: &Answer, other: &Answer) -> bool {
    let link = |answer: &Answer| answer.marks.link_source;
    one.marks.ttl.abs_diff(other.marks.ttl) <= 1
        && one.marks.dont_fragment == other.marks.dont_fragment
        && (link(one) == link(other) || link(one) == 0 || link(other) == 0)
}

fn one_counter(one: &Answer, other: &Answer) -> bool {
    one.marks.ip_id.zip(other.marks.ip_id).is_some_and(|(one, other)| {
        one != other && one != 0 && other != 0 && one.wrapping_sub(other).min(other.wrapping_sub(one)) <= ONE_COUNTER
    })
}

/// One question, answers that differ.
fn differing(question: &Question, suspects: &[Suspect<'_>], circumstances: &Circumstances<'_>) -> Option<Finding> {
    // The least odd is taken for the genuine one; of two alike the later (forgers hurry: 99 % of forged answers come
    // first, Hoang et al. 2021).
    let genuine = suspects
        .iter()
        .filter(|suspect| !suspect.answer.is_truncated())
        .rev()
        .reduce(|best, suspect| if suspect.score < best.score { suspect } else { best })?;
    let is_genuine = |suspect: &&Suspect<'_>| {
        !suspect.answer.differs_from(genuine.answer)
            // Asked more than once, the server itself may give another address each time.
            || (question.times_asked > 1 && suspect.score < genuine.score + APART && marks_agree(suspect.answer, genuine.answer))
    };
    let forged: Vec<&Suspect<'_>> = suspects.iter().filter(|suspect| !is_genuine(suspect)).collect();
    let Some(first) = forged.first().copied() else {
        // Every answer could be the server's own.
        return None;
    };
    let worst = forged
        .iter()
        .copied()
        .reduce(|worst, suspect| if suspect.score > worst.score { suspect } else { worst })
        .unwrap_or(first);
    let none_genuine = genuine.score >= ODD;
    let apart = worst.score >= genuine.score + APART;
    let stranger = !marks_agree(first.answer, genuine.answer) || !worst.wrong.iter().all(is_mere_content);
    let excuse = excuse(question, &forged, genuine, circumstances).filter(|_| !stranger);

    let mut case = Dossier::new(question);
    let pair = [genuine.answer.frame, first.answer.frame];
    let mut both: Vec<FrameNumber> = forged
        .iter()
        .map(|suspect| suspect.answer.frame)
        .chain([pair[0]])
        .collect();
    both.sort_unstable();
    case.add(
        match excuse {
            Some(excuse) => Observation::DifferingAnswersExplained(excuse),
            None => Observation::DifferingAnswers,
        },
        &both,
    );
    for suspect in &forged {
        case.add_all(suspect);
    }
    compare(&mut case, first.answer, genuine.answer);
    if let Some((bytes, earlier)) = genuine.answer.overlap {
        case.add(
            Observation::ConflictingOverlap { bytes },
            &[earlier, genuine.answer.frame],
        );
    }
    if marks_agree(first.answer, genuine.answer) && one_counter(first.answer, genuine.answer) {
        case.add(Observation::MarksAsUsual, &pair);
    }
    if first.answer.acknowledged.is_some() {
        case.add(Observation::AcknowledgedBlocking, &[first.answer.frame]);
    }
    if apart && excuse.is_none() && !none_genuine {
        let frames = [first.answer.frame, genuine.answer.frame];
        if genuine.answer.at >= first.answer.at {
            let after = genuine.answer.at.since(first.answer.at);
            case.add(Observation::GenuineAnswerToo { after }, &frames);
        } else {
            let by = first.answer.at.since(genuine.answer.at);
            case.add(Observation::GenuineAnswerBefore { by }, &frames);
        }
    }
    let genuine_ones = suspects
        .iter()
        .filter(|suspect| is_genuine(suspect) && !none_genuine)
        .map(|suspect| suspect.answer);
    let forged_ones = suspects
        .iter()
        .filter(|suspect| !is_genuine(suspect) || none_genuine)
        .map(|suspect| suspect.answer);
    case.forged = forged_ones.collect();
    case.genuine = genuine_ones.collect();
    Some(case.close(circumstances, Prior::Abnormal))
}

/// Whether an observation is about what an answer says, not about who sent it.
const fn is_mere_content(observation: &Observation) -> bool {
    !matches!(
        observation,
        Observation::IpIdCopiedFromTrigger { .. } | Observation::KnownDevice(_) | Observation::ProbableDevice(_)
    )
}

/// An honest way for these answers to come about, if their packets look as if one host had sent them.
fn excuse(
    question: &Question,
    forged: &[&Suspect<'_>],
    genuine: &Suspect<'_>,
    circumstances: &Circumstances<'_>,
) -> Option<AnswerExcuse> {
    let all = |so: &dyn Fn(&Answer) -> bool| forged.iter().all(|suspect| so(suspect.answer));
    let genuine = genuine.answer;
    if question.times_asked != 1 {
        return Some(AnswerExcuse::AskedAgain);
    }
    if all(&|answer| share_network(answer, genuine)) {
        return Some(AnswerExcuse::SameNetwork);
    }
    if genuine.is_failure() != forged[0].answer.is_failure()
        && all(&|answer| answer.is_failure() != genuine.is_failure())
    {
        return Some(AnswerExcuse::RetriedFailure);
    }
    is_private(circumstances.conversation.server.ip).then_some(AnswerExcuse::LocalForwarder)
}

/// Whether two answers name one address, or addresses of one /24 (one of the two benign servers among 27 million
/// transactions of Duan et al. did that), or /48 for IPv6.
fn share_network(one: &Answer, other: &Answer) -> bool {
    use std::net::IpAddr::{V4, V6};
    one.addresses.iter().any(|a| {
        other.addresses.iter().any(|b| match (a, b) {
            (V4(a), V4(b)) => a.octets()[..3] == b.octets()[..3],
            (V6(a), V6(b)) => a.segments()[..3] == b.segments()[..3],
            _ => false,
        })
    })
}

/// How the forged answer's packet differs from the genuine one's.
fn compare(case: &mut Dossier<'_>, forged: &Answer, genuine: &Answer) {
    let pair = [forged.frame, genuine.frame];
    if forged.marks.ttl.abs_diff(genuine.marks.ttl) > 1 {
        case.add(
            Observation::TtlDiffers {
                packet: forged.marks.ttl,
                usual: genuine.marks.ttl,
            },
            &pair,
        );
    }
    if forged.marks.dont_fragment != genuine.marks.dont_fragment {
        case.add(Observation::DontFragmentDiffers, &pair);
    }
    if forged.marks.link_source != genuine.marks.link_source
        && forged.marks.link_source != 0
        && genuine.marks.link_source != 0
    {
        case.add(Observation::LinkSourceDiffers, &pair);
    }
    if forged.is_authoritative() && !genuine.is_authoritative() {
        case.add(Observation::AuthoritativeUnlikeOthers, &pair);
    }
    if case.question.asked.is_some_and(|asked| asked.edns) && !forged.edns && genuine.edns {
        case.add(Observation::EdnsMissing, &pair);
    }
    let mixed = case.question.asked.filter(|asked| asked.mixes_case);
    if mixed.is_some_and(|asked| asked.case_hash == genuine.case_hash && asked.case_hash != forged.case_hash) {
        case.add(Observation::CaseChanged, &pair);
    }
}

/// One answer, or several that say the same.
fn single(
    question: &Question,
    suspects: &[Suspect<'_>],
    exchanges: &Exchanges,
    circumstances: &Circumstances<'_>,
) -> Option<Finding> {
    let oddest = suspects
        .iter()
        .reduce(|oddest, suspect| if suspect.score > oddest.score { suspect } else { oddest })?;
    let mut case = Dossier::new(question);
    case.add_all(oddest);
    for observation in against(oddest.answer, &background(exchanges, oddest.answer, circumstances)) {
        case.add(observation, &[oddest.answer.frame]);
    }
    let apart = |other: &&Suspect<'_>| other.answer.marks.ttl.abs_diff(oddest.answer.marks.ttl) > 1;
    if let Some(other) = suspects.iter().find(apart) {
        let (first, second) = if oddest.answer.at <= other.answer.at {
            (oddest.answer, other.answer)
        } else {
            (other.answer, oddest.answer)
        };
        case.add(
            Observation::SameAnswerOtherTtl {
                first: first.marks.ttl,
                second: second.marks.ttl,
            },
            &[first.frame, second.frame],
        );
    }
    if !case.evidence.iter().any(|evidence| evidence.llr() > 0.0) {
        return None;
    }
    case.forged = suspects
        .iter()
        .filter(|suspect| suspect.answer.frame == oddest.answer.frame || marks_agree(suspect.answer, oddest.answer))
        .map(|suspect| suspect.answer)
        .collect();
    Some(case.close(circumstances, Prior::Ordinary))
}

/// The evidence as it is gathered.
pub(super) struct Dossier<'a> {
    question: &'a Question,
    pub(super) evidence: Vec<Evidence>,
    pub(super) forged: Vec<&'a Answer>,
    genuine: Vec<&'a Answer>,
}

impl<'a> Dossier<'a> {
    pub(super) const fn new(question: &'a Question) -> Self {
        Self {
            question,
            evidence: Vec::new(),
            forged: Vec::new(),
            genuine: Vec::new(),
        }
    }

    /// Adds an observation; of one made more than once the first is kept, with the frames of all.
    pub(super) fn add(&mut self, observation: Observation, frames: &[FrameNumber]) {
        let same = |evidence: &&mut Evidence| evidence.observation.key() == observation.key();
        if let Some(known) = self.evidence.iter_mut().find(same) {
            for frame in frames {
                if !known.frames.contains(frame) {
                    _ = known.frames.try_push(*frame);
                }
            }
            known.frames.sort_unstable();
            return;
        }
        let mut frames = frames.to_vec();
        frames.sort_unstable();
        self.evidence.push(Evidence::at(observation, &frames));
    }

    fn add_all(&mut self, suspect: &Suspect<'_>) {
        let answer = suspect.answer;
        let asked = self.question.asked.map(|asked| asked.frame);
        for observation in suspect.wrong.iter().chain(&suspect.unlike) {
            match (observation, asked) {
                (Observation::IpIdCopiedFromTrigger { .. } | Observation::TooFast { .. }, Some(asked)) => {
                    self.add(*observation, &[asked, answer.frame]);
                }
                _ => self.add(*observation, &[answer.frame]),
            }
        }
        if let Some((bytes, earlier)) = answer.overlap {
            self.add(Observation::ConflictingOverlap { bytes }, &[earlier, answer.frame]);
        }
    }

    pub(super) fn close(self, circumstances: &Circumstances<'_>, prior: Prior) -> Finding {
        let frames = |answers: &[&Answer]| {
            let mut frames: Vec<FrameNumber> = answers.iter().flat_map(|answer| answer.frames()).collect();
            frames.sort_unstable();
            frames
        };
        let mut particulars = Particulars::default();
        for answer in &self.forged {
            answer.describe(&mut particulars.forged_answers);
        }
        for answer in &self.genuine {
            answer.describe(&mut particulars.genuine_answers);
        }
        particulars.fingerprint = self
            .forged
            .iter()
            .find_map(|answer| block_address(self.question, answer, circumstances.pack))
            .filter(|row| row.confidence >= SURE && row.scope != Scope::FalsePositive)
            .map(|row| row.matched());
        let asked = self.question.asked;
        let first = self.forged.first();
        Finding {
            kind: Kind::DnsInjection,
            conversation: Conversation {
                application: Application::Dns,
                ..circumstances.conversation.clone()
            },
            decided_by: first.map_or_else(FrameNumber::default, |answer| answer.frame),
            at: first.map_or(self.question.last, |answer| answer.at),
            stage: None,
            signature: None,
            claimed_sender: Some(Party::Server),
            position: if self.genuine.is_empty() {
                Position::Unknown
            } else {
                Position::OnPath
            },
            trigger: asked.map(|asked| Trigger {
                kind: TriggerKind::Qname,
                name: (!self.question.name.is_empty()).then(|| self.question.name.to_string()),
                frame: asked.frame,
            }),
            forged: frames(&self.forged),
            genuine: frames(&self.genuine),
            dropped: Vec::new(),
            prior,
            injector: Some(injector(
                self.question,
                &self.forged,
                &self.evidence,
                circumstances.pack,
            )),
            evidence: self.evidence,
            particulars,
        }
    }
}

/// What the forged packets tell of the box.
fn injector(question: &Question, forged: &[&Answer], evidence: &[Evidence], pack: &Pack) -> Injector {
    let device = evidence.iter().find_map(|evidence| match evidence.observation {
        Observation::KnownDevice(device) => Some(device),
        _ => None,
    });
    let Some(first) = forged.first().map(|answer| answer.marks) else {
        return Injector::default();
    };
    // A box that turns the query's own header round copies its TTL as well; how far it is, that TTL does not say.
    let reflected = question.asked.is_some_and(|asked| {
        asked.marks.ip_id.is_some_and(|id| id != 0)
            && asked.marks.ip_id == first.ip_id
            && asked.marks.initial_ttl() == first.initial_ttl()
    });
    // Boxes that draw their TTLs at random or count them up give themselves away by a second answer.
    let steady = forged.iter().all(|answer| answer.marks.ttl.abs_diff(first.ttl) <= 1);
    let known = forged.first().map_or(TtlHabit::Own, |answer| {
        ttl_habit(block_address(question, answer, pack).map(|row| &**row), answer)
    });
    let reflected = reflected || known == TtlHabit::Mirrors;
    let with_records = || forged.iter().filter(|answer| !answer.addresses.is_empty());
    let readable = steady && !reflected && known == TtlHabit::Own;
    Injector {
        refused_after: None,
        arrival_ttl: Some(first.ttl),
        hops_from_tap: readable.then(|| (first.hops(), first.hops())),
        initial_ttl: readable.then(|| first.initial_ttl()),
        mirrors_ttl: reflected,
        device,
        habits: Habits {
            record_ttl: Varying::of(with_records().map(|answer| answer.record_ttl)),
            ip_id_stays: forged.len() > 1 && forged.iter().all(|answer| answer.marks.ip_id == first.ip_id),
            ..Habits::of_marks(&first)
        },
        id: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::exchange::AskedBy;
    use super::super::exchange::tests::answer;
    use super::*;
    use crate::finding::finding::Device;
    use crate::flow::name_text::NameText;
    use crate::packet::path_marks::PathMarks;
    use crate::payload::dns_message::RecordType;
    use crate::time::Timestamp;

    fn question(asked: Option<AskedBy>) -> Question {
        Question {
            id: 0,
            transaction: 7,
            name_hash: 1,
            qtype: RecordType::A,
            name: NameText::lower("a.example"),
            asked,
            times_asked: 1,
            last: Timestamp::EPOCH,
            filed: false,
            suspicious: false,
        }
    }

    fn asked(edns: bool, recursion_desired: bool) -> AskedBy {
        AskedBy {
            frame: FrameNumber::new(0, 1),
            at: Timestamp::EPOCH,
            marks: PathMarks::default(),
            edns,
            recursion_desired,
            mixes_case: false,
            case_hash: 1,
        }
    }

    const PUBLIC: &[u8] = &[93, 184, 216, 34];

    fn says(flags: u16, address: &[u8], marks: (u8, u16, u64)) -> Answer {
        answer(flags, "a.example", 1, &[(1, address)], marks)
    }

    #[test]
    fn small_signs_add_up() {
        let pack = Pack::builtin();
        let background = Background {
            pack,
            server: [9, 9, 9, 9].into(),
            resolver: None,
            flow_ttl: None,
            learnt: true,
        };
        let score = |asked, answer: &Answer| style(&question(asked), answer, &background);
        let usual = Answer {
            shape: Shape::Other,
            ..says(0x0180, PUBLIC, (60, 9, 0))
        };
        let with = |flags: u16, edns: bool| Answer {
            flags: usual.flags & 0xff7f | flags,
            edns,
            ..usual.clone()
        };
        for (asked_edns, recursion, answer, expected) in [
            (false, true, usual.clone(), 0.0),
            // Authority where recursion was asked for, more so where none is to be had.
            (false, true, with(0x0480, false), 1.0),
            (false, true, with(0x0400, false), 1.5),
            (false, false, with(0x0400, false), 0.0),
            // EDNS asked for and not given, by what is no failure.
            (true, true, with(0x0080, false), 1.0),
            (true, true, with(0x0080, true), 0.0),
            (false, true, with(0x0080, true), 0.0),
            (
                true,
                true,
                Answer {
                    rcode: 2,
                    ..with(0x0080, false)
                },
                0.0,
            ),
            (
                false,
                true,
                Answer {
                    shape: Shape::BareAnswer,
                    ..usual.clone()
                },
                0.4,
            ),
            (
                false,
                true,
                Answer {
                    bare_negative: true,
                    ..usual.clone()
                },
                1.0,
            ),
            (
                false,
                true,
                Answer {
                    fits_counter: Some(true),
                    ..usual.clone()
                },
                -1.0,
            ),
            (
                false,
                true,
                Answer {
                    fits_counter: Some(false),
                    ..usual.clone()
                },
                0.0,
            ),
        ] {
            let score = score(Some(asked(asked_edns, recursion)), &answer);
            assert!((score - expected).abs() < 1e-9, "{score} for {answer:?}");
        }
        assert!(score(None, &with(0x0400, false)).abs() < 1e-9);
    }

    #[test]
    fn one_host_has_one_set_of_marks() {
        let of = |ttl, dont_fragment, link_source| {
            let mut answer = says(0x0180, PUBLIC, (ttl, 9, 0));
            answer.marks.dont_fragment = dont_fragment;
            answer.marks.link_source = link_source;
            answer
        };
        let one = of(60, false, 5);
        for (ttl, dont_fragment, link_source, agree) in [
            (60, false, 5, true),
            (61, false, 5, true),
            (59, false, 5, true),
            (62, false, 5, false),
            (60, true, 5, false),
            (60, false, 6, false),
            (60, false, 0, true),
        ] {
            let other = of(ttl, dont_fragment, link_source);
            let agrees = (marks_agree(&one, &other), marks_agree(&other, &one));
            assert_eq!(agrees, (agree, agree), "{ttl} {dont_fragment} {link_source}");
        }
    }

    #[test]
    fn one_counter_takes_small_steps() {
        let of = |ip_id| says(0x0180, PUBLIC, (60, ip_id, 0));
        for (one, other, counts) in [
            (10, 2010, true),
            (10, 2011, false),
            (65_000, 700, true),
            (65_000, 2_000, false),
            (10, 10, false),
            (10, 0, false),
            (0, 10, false),
        ] {
            assert_eq!(one_counter(&of(one), &of(other)), counts, "{one} {other}");
            assert_eq!(one_counter(&of(other), &of(one)), counts, "{other} {one}");
        }
    }

    #[test]
    fn a_network_is_a_24_or_a_48() {
        let v4 = |address: &[u8; 4]| says(0x0180, address, (60, 9, 0));
        let v6 = |address: &str| {
            let address: std::net::Ipv6Addr = address.parse().unwrap();
            answer(0x0180, "a.example", 28, &[(28, &address.octets())], (60, 9, 0))
        };
        let one = v4(&[93, 184, 216, 34]);
        assert!(share_network(&one, &v4(&[93, 184, 216, 99])));
        assert!(!share_network(&one, &v4(&[93, 184, 217, 34])));
        assert!(!share_network(&one, &v6("2606:2800:220::1")));
        assert!(share_network(&v6("2606:2800:220::1"), &v6("2606:2800:220:9::7")));
        assert!(!share_network(&v6("2606:2800:220::1"), &v6("2606:2800:221::1")));
    }

    #[test]
    fn who_sent_it_is_more_than_what_it_says() {
        let device = Device { name: "x", source: "y" };
        assert!(!is_mere_content(&Observation::KnownDevice(device)));
        assert!(!is_mere_content(&Observation::ProbableDevice(device)));
        assert!(is_mere_content(&Observation::EdnsMissing));
    }

    #[test]
    fn the_ttl_of_a_flow_is_that_of_its_other_answers_of_late() {
        let of = |question, ttl, millis| Answer {
            question,
            ..says(0x0180, PUBLIC, (ttl, 9, millis))
        };
        let ttl = |others: &[Answer]| {
            let mut exchanges = Exchanges::default();
            exchanges.answers.extend_from_slice(others);
            flow_ttl(&exchanges, &of(9, 44, 100_000))
        };
        assert_eq!(ttl(&[of(1, 60, 50_000), of(2, 61, 100_000)]), Some(60));
        assert_eq!(ttl(&[of(1, 60, 50_000), of(2, 62, 100_000)]), None);
        // A minute before or after.
        assert_eq!(ttl(&[of(1, 60, 40_000)]), Some(60));
        assert_eq!(ttl(&[of(1, 60, 39_999)]), None);
        assert_eq!(ttl(&[of(1, 60, 160_000)]), Some(60));
        assert_eq!(ttl(&[of(1, 60, 160_001)]), None);
        // Other answers to the same question do not count, nor those that are wrong.
        assert_eq!(ttl(&[of(9, 60, 100_000)]), None);
        let mut wrong = of(1, 60, 100_000);
        wrong.oddness.intrinsic = true;
        assert_eq!(ttl(&[wrong]), None);
    }
}
