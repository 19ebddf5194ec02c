//! Silent filters: they let the handshake pass, and from the packet that names the forbidden thing on, nothing (or
//! nothing of the client's) gets through; nobody is told. The client retransmits until it loses patience.
//! Kazakhstan's way (wire-facts 3.4).

use std::collections::BTreeMap;

use crate::scenario::filtering_equipment::{Acts, Carried, FilteringEquipment, FlowName, Trigger};
use crate::scenario::sim_time::SimTime;
use crate::scenario::story::{DropSides, DropStory, DropWhat};

/// A filter that drops.
#[derive(Debug)]
pub(crate) struct SilentDrop {
    story: DropStory,
    trigger: Trigger,
    until: BTreeMap<FlowName, SimTime>,
}

impl SilentDrop {
    /// A filter as the story describes it.
    pub(crate) fn new(story: &DropStory, trigger: Trigger) -> Self {
        Self {
            story: story.clone(),
            trigger,
            until: BTreeMap::new(),
        }
    }
}

impl FilteringEquipment for SilentDrop {
    fn on_packet(&mut self, packet: &Carried<'_>, at: SimTime, act: &mut Acts) {
        let Some(segment) = packet.datagram.tcp() else {
            if self.trigger.hears(packet.datagram).is_some() {
                act.drop_it();
            }
            return;
        };
        let from_client = FlowName::from_client(packet.datagram, segment);
        let from_server = FlowName::from_server(packet.datagram, segment);
        let flow = match self.story.sides {
            DropSides::Both if self.until.contains_key(&from_server) => from_server,
            DropSides::Both | DropSides::Client => from_client,
        };
        // Every packet that meets the block prolongs it.
        if let Some(until) = self.until.get_mut(&flow)
            && at < *until
        {
            *until = at + self.story.lasts.0;
            act.drop_it();
            return;
        }
        if self.trigger.hears(packet.datagram).is_some() {
            act.drop_it();
            if self.story.what == DropWhat::Flow {
                self.until.insert(from_client, at + self.story.lasts.0);
            }
        }
    }
}
