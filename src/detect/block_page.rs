//! `block_page`: an HTTP answer put into a server's mouth, as a block page or a redirect to one.
//!
//! # What it sees
//! The beginnings of HTTP answers, the requests before them, and what the server's other packets look like.
//!
//! # How it tells
//! By provenance: the answer's packet has not the marks of its server's other packets (TTL, don't-fragment, timestamps,
//! IP id, window), comes faster than the server can be reached, does not acknowledge the request, or the genuine answer
//! arrives as well and differs. By content: a known block page or redirect (a pack of facts with sources), a redirect to
//! another site without Date and Server, a FIN in the same packet.
//!
//! # What it mistakes
//! A site's own notice (geo-blocking, 451, a firewall in front of the server) has its server's marks: a known page alone
//! is `possible`, never more. A box that rewrites the server's own packet leaves its marks on it: that is told by its
//! page, and by the server's silence after it where other names are answered, or other servers send the same page. A box
//! that lets the rest of the answer pass leaves a server that goes on behind an answer which says it is complete; servers
//! whose Content-Length is wrong do the same. Where what was put in is shorter than what it replaces the numbers do not
//! fit: a hole, as a lost packet leaves it, and at every answer for the name.
//!
//! # References
//! wire-facts 3, 5.2, 5.5, 6.1, 6.3. Jones et al., IMC 2014. Citizen Lab, "Bad Traffic", 2018. RFC 7725.

mod answer;
mod weigh;

use super::detector::{Attention, Carried, Conclusion, Detector, Ending, Sighting};
use super::packs::facts::Facts;
use super::packs::pack::Pack;
use crate::finding::docket::Docket;
use crate::finding::finding::{Application, Kind, Party};
use crate::flow::flow::Flow;
use crate::flow::flow_table::Recycle;
use crate::flow::side::Note;
use crate::flow::spare::Spare;
use crate::payload::http_body::DecodingRoom;
use crate::payload::http_head::looks_like_response;
use answer::{Answer, is_page};

/// Answers of one flow that are looked at.
const ANSWERS: usize = 4;

/// Log-odds from which evidence of other flows may still lift a finding to `possible` (the cap of that group is 6).
const WORTH_FILING: f64 = -3.0;

/// Finds forged HTTP answers.
#[derive(Clone, Debug, Default)]
pub struct BlockPage {
    /// What is known of block pages.
    pub facts: Facts,
}

/// What is kept of one flow.
#[derive(Debug, Default)]
pub struct Memory {
    answers: Vec<Answer>,
    filed: bool,
}

/// What one shard keeps to work with: room to decode pages in, and lists of answers for the flows to come.
#[derive(Debug, Default)]
pub struct Workshop {
    room: DecodingRoom,
    spare: Spare<Answer>,
}

impl Recycle for Memory {
    fn recycle(&mut self) {
        self.answers.clear();
        self.filed = false;
    }
}

impl Detector for BlockPage {
    const KIND: Kind = Kind::BlockPage;
    type Memory = Memory;
    type Habits = Workshop;

    fn habits(&self) -> Workshop {
        Workshop::default()
    }

    fn observe(&self, sighting: &Sighting<'_>, memory: &mut Memory, workshop: &mut Workshop) -> Attention {
        let Carried::Segment(segment) = sighting.carried else {
            return Attention::Idle;
        };
        let flow = sighting.flow;
        if sighting.sender != Party::Server
            || (segment.payload.is_empty() && !segment.flags.fin())
            || segment.flags.rst()
            || matches!(flow.application, Application::Tls | Application::Dns)
        {
            return Attention::Idle;
        }
        let note = Note::of(sighting.packet, segment);
        let mut attention = Attention::Idle;
        for answer in &mut memory.answers {
            answer.is_gone_beyond_by(&note, segment.payload);
            if !segment.payload.is_empty() && answer.is_contradicted_by(&note, sighting.conflict) {
                attention = Attention::Suspicious;
            }
        }
        // A page without a status line answers only as the first thing after a request.
        let first_answer = || {
            flow.asked.as_ref().is_some_and(|asked| {
                flow.side(Party::Server)
                    .last_data()
                    .is_none_or(|data| data.at < asked.at)
            })
        };
        if memory.answers.len() < ANSWERS
            && (looks_like_response(segment.payload) || (is_page(segment.payload) && first_answer()))
            && let Some(mut answer) = Answer::read(note, segment, flow, self.facts.pack(), &mut workshop.room)
        {
            // The genuine answer may come first, and the forged one lose the race.
            let differs = |earlier: &Answer| {
                sighting
                    .conflict
                    .is_some_and(|conflict| conflict.earlier == earlier.note.frame)
            };
            if let Some(earlier) = memory.answers.iter().find(|earlier| differs(earlier)) {
                answer.contradict_with(earlier.note, sighting.conflict);
            }
            if answer.deserves_a_look() {
                attention = Attention::Suspicious;
            }
            workshop.spare.push(&mut memory.answers, answer);
        }
        attention
    }

    /// An ordinary packet does not begin an answer, and contradicts none but one that said it was the last, or complete.
    fn rests(&self, _flow: &Flow, memory: &Memory) -> bool {
        let last = |answer: &Answer| answer.note.flags.fin() || answer.complete;
        !memory.answers.iter().any(last)
    }

    fn reads_on(&self, memory: &Memory) -> bool {
        memory.answers.iter().any(|answer| answer.may_be_page)
    }

    fn conclude(&self, conclusion: &Conclusion<'_>, memory: &mut Memory, workshop: &mut Workshop, docket: &mut Docket) {
        if memory.answers.is_empty() {
            return;
        }
        if !memory.filed {
            file_heaviest(conclusion, memory, self.facts.pack(), &mut workshop.room, docket);
        }
        if conclusion.ending != Ending::SuspicionDue {
            workshop.spare.give_back(std::mem::take(&mut memory.answers));
        }
    }
}

fn file_heaviest(
    conclusion: &Conclusion<'_>,
    memory: &mut Memory,
    pack: &Pack,
    room: &mut DecodingRoom,
    docket: &mut Docket,
) {
    let heaviest = memory
        .answers
        .iter()
        .filter_map(|answer| weigh::weigh(answer, &memory.answers, conclusion, pack, room))
        .max_by(|one, two| one.judgement().log_odds.total_cmp(&two.judgement().log_odds));
    let Some(finding) = heaviest else { return };
    let judgement = finding.judgement();
    let enough = match conclusion.ending {
        Ending::SuspicionDue => judgement.verdict.is_some(),
        Ending::Over | Ending::Evicted | Ending::CaptureEnded => judgement.log_odds >= WORTH_FILING,
    };
    if enough {
        memory.filed = true;
        docket.file(finding);
    }
}
