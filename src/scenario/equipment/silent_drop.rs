//! Silent filters: they let the handshake pass, and from the packet that names the forbidden thing on, or a few packets
//! later, nothing (or nothing of one side) gets through; nobody is told, unless the story has it say so by ICMP.
//!
//! | who | how (wire-facts 3.1, 3.3, 3.4, 7.1) |
//! |---|---|
//! | Kazakhstan | both sides, 120 s on the four-tuple, every packet that meets the block prolongs it |
//! | TSPU SNI-II | five to eight more packets pass, then both sides |
//! | GFW, encrypted SNI | only the client's packets; three-tuple; not prolonged |
//! | GFW, QUIC | three-tuple, 180 s, not prolonged |

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::scenario::chance::Chance;
use crate::scenario::datagram::Datagram;
use crate::scenario::equipment::prohibition::Prohibition;
use crate::scenario::filtering_equipment::{Acts, Carried, FilteringEquipment, FlowName, Trigger};
use crate::scenario::sim_time::SimTime;
use crate::scenario::story::{DropSides, DropStory, DropWhat, TimerStory, TupleStory};

/// What has been decided about a flow.
#[derive(Clone, Copy, Debug)]
struct Sentence {
    /// How many packets still pass.
    grace: u32,
    until: SimTime,
}

/// A filter that drops.
#[derive(Debug)]
pub(crate) struct SilentDrop {
    story: DropStory,
    trigger: Trigger,
    prohibition: Option<Prohibition>,
    chance: Chance,
    sentences: BTreeMap<FlowName, Sentence>,
}

impl SilentDrop {
    /// A filter as the story describes it.
    pub(crate) fn new(
        story: &DropStory,
        trigger: Trigger,
        addresses: &dyn Fn(&str) -> Vec<IpAddr>,
        chance: Chance,
    ) -> Self {
        Self {
            prohibition: story.icmp.as_ref().map(|icmp| Prohibition::new(icmp, addresses)),
            story: story.clone(),
            trigger,
            chance,
            sentences: BTreeMap::new(),
        }
    }

    fn take_out(&self, packet: &Carried<'_>, act: &mut Acts) {
        act.drop_it();
        if let Some(prohibition) = &self.prohibition {
            prohibition.say(packet, act);
        }
    }

    /// The flow under the name the block remembers it by.
    fn remembered(&self, flow: FlowName) -> FlowName {
        match self.story.tuple {
            TupleStory::Four => flow,
            TupleStory::Three => FlowName {
                client: (flow.client.0, 0),
                ..flow
            },
        }
    }

    /// The flow the packet belongs to, and whether it is of a side that is dropped.
    fn place(&self, datagram: &Datagram, ports: (u16, u16)) -> (FlowName, bool) {
        let (here, there) = ((datagram.ip.src, ports.0), (datagram.ip.dst, ports.1));
        let outward = self.remembered(FlowName {
            client: here,
            server: there,
        });
        let inward = self.remembered(FlowName {
            client: there,
            server: here,
        });
        if self.sentences.contains_key(&inward) {
            (inward, self.story.sides != DropSides::Client)
        } else {
            (outward, self.story.sides != DropSides::Server)
        }
    }
}

impl FilteringEquipment for SilentDrop {
    fn on_packet(&mut self, packet: &Carried<'_>, at: SimTime, act: &mut Acts) {
        let Some(ports) = packet.datagram.ports() else { return };
        let (flow, of_dropped_side) = self.place(packet.datagram, ports);
        if let Some(sentence) = self.sentences.get_mut(&flow)
            && at < sentence.until
        {
            if !of_dropped_side {
                return;
            }
            if sentence.grace > 0 {
                sentence.grace -= 1;
                return;
            }
            match self.story.timer {
                TimerStory::Prolonged => sentence.until = at + self.story.lasts.0,
                TimerStory::Fixed => {}
            }
            self.take_out(packet, act);
            return;
        }
        if self.trigger.hears(packet.datagram).is_none() {
            return;
        }
        let grace = self.story.grace.map(|[least, most]| {
            let more = self.chance.below(u64::from(most.saturating_sub(least)) + 1);
            least + more as u32
        });
        if grace.is_none() && self.story.sides != DropSides::Server {
            self.take_out(packet, act);
        }
        if self.story.what == DropWhat::Flow {
            let sentence = Sentence {
                grace: grace.unwrap_or(0),
                until: at + self.story.lasts.0,
            };
            self.sentences.insert(flow, sentence);
        }
    }
}
