//! A resolver that lies: its own answers, with its own headers and at its own pace, say something else. In the
//! simulation an honest resolver answers and this equipment, right before it, replaces the content; on the wire that is
//! the same. Also a captive portal, which answers all names alike until somebody has logged in (wire-facts 4.3, 8).

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::scenario::datagram::{Body, UdpMessage};
use crate::scenario::dns::{self, Record, RecordData, Tail, bits, rr};
use crate::scenario::filtering_equipment::{Acts, Carried, Fate, FilteringEquipment, ParcelId, Trigger};
use crate::scenario::sim_time::SimTime;
use crate::scenario::story::{LieAbout, LieStory};

/// The resolver's other self.
#[derive(Debug)]
pub(crate) struct LyingResolver {
    story: LieStory,
    trigger: Trigger,
    answers: Vec<IpAddr>,
    /// Queries under way, by the asker's address, port and transaction id.
    asked: BTreeMap<(IpAddr, u16, u16), (ParcelId, Vec<u8>)>,
}

impl LyingResolver {
    /// A resolver as the story describes it.
    pub(crate) fn new(story: &LieStory, trigger: Trigger, addresses: &dyn Fn(&str) -> Vec<IpAddr>) -> Self {
        let mut answers = story.answers.clone();
        answers.extend(story.to.iter().flat_map(|host| addresses(host.get_ref())));
        Self {
            story: story.clone(),
            trigger,
            answers,
            asked: BTreeMap::new(),
        }
    }

    fn lie(&self, query: &[u8]) -> Option<Vec<u8>> {
        let question = dns::read_question(query)?;
        let ttl = self.story.rr_ttl;
        let mut records = Vec::new();
        let mut owner = question.name.clone();
        if let Some(alias) = &self.story.alias {
            records.push(Record {
                owner: owner.clone(),
                ttl,
                data: RecordData::Alias(alias.clone()),
            });
            owner.clone_from(alias);
        }
        let fits = |address: &&IpAddr| match question.kind {
            rr::A => address.is_ipv4(),
            rr::AAAA => address.is_ipv6(),
            _ => false,
        };
        records.extend(self.answers.iter().filter(fits).map(|address| Record {
            owner: owner.clone(),
            ttl,
            data: RecordData::Address(*address),
        }));
        let tail = match (question.edns, self.story.explained) {
            (true, Some(code)) => Tail::Explained(1232, code),
            (true, None) => Tail::Opt(1232),
            (false, _) => Tail::Bare,
        };
        let flags = bits::ANSWER | u16::from(self.story.rcode);
        let soa = records.is_empty();
        Some(dns::answer(query, &question, flags, &records, soa, tail))
    }
}

impl FilteringEquipment for LyingResolver {
    fn on_packet(&mut self, packet: &Carried<'_>, at: SimTime, act: &mut Acts) {
        let Body::Udp(message) = &packet.datagram.body else {
            return;
        };
        let Some(id) = message.payload.first_chunk::<2>().map(|id| u16::from_be_bytes(*id)) else {
            return;
        };
        if self.trigger.hears(packet.datagram).is_some() {
            let asker = (packet.datagram.ip.src, message.src_port, id);
            self.asked.insert(asker, (packet.id, message.payload.clone()));
            return;
        }
        if message.src_port != 53 || self.story.until.is_some_and(|until| at.since(SimTime::ZERO) >= until.0) {
            return;
        }
        let asker = (packet.datagram.ip.dst, message.dst_port, id);
        let Some((because, query)) = self.asked.get(&asker) else {
            return;
        };
        let wanted = match self.story.about {
            LieAbout::Names => true,
            LieAbout::Missing => dns::rcode(&message.payload) == 3,
        };
        if let (true, Some(payload)) = (wanted, self.lie(query)) {
            let mut datagram = packet.datagram.clone();
            datagram.body = Body::Udp(UdpMessage {
                payload,
                ..message.clone()
            });
            act.because = Some(*because);
            act.fate = Fate::Rewrite(Box::new(datagram));
        }
    }
}
