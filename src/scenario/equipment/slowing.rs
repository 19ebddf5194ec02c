//! Equipment that spoils a flow without ending it: a token bucket for flows that named something (Russia and Twitter in
//! 2021: 130 to 150 kbit/s both ways, by dropping; wire-facts 7.3), and the freeze after 16 to 20 KB (wire-facts 3.3).

use std::collections::BTreeMap;

use crate::scenario::chance::Chance;
use crate::scenario::datagram::Body;
use crate::scenario::filtering_equipment::{Acts, Carried, FilteringEquipment, FlowName, Trigger};
use crate::scenario::sim_time::SimTime;
use crate::scenario::story::{FreezeStory, ThrottleStory};
use crate::scenario::token_bucket::TokenBucket;

/// The flow of a packet, named from its sender's and from its receiver's side.
fn names(packet: &Carried<'_>) -> Option<(FlowName, FlowName)> {
    let (src_port, dst_port) = packet.datagram.ports()?;
    let (here, there) = ((packet.datagram.ip.src, src_port), (packet.datagram.ip.dst, dst_port));
    let name = |client, server| FlowName { client, server };
    Some((name(here, there), name(there, here)))
}

/// A rate limit for chosen flows.
#[derive(Debug)]
pub(crate) struct Throttle {
    story: ThrottleStory,
    trigger: Trigger,
    /// One bucket for what the client sends and one for what the server sends.
    flows: BTreeMap<FlowName, [TokenBucket; 2]>,
}

impl Throttle {
    /// A rate limit as the story describes it.
    pub(crate) fn new(story: &ThrottleStory, trigger: Trigger) -> Self {
        Self {
            story: *story,
            trigger,
            flows: BTreeMap::new(),
        }
    }
}

impl FilteringEquipment for Throttle {
    fn on_packet(&mut self, packet: &Carried<'_>, at: SimTime, act: &mut Acts) {
        let Some((outward, inward)) = names(packet) else { return };
        if self.trigger.hears(packet.datagram).is_some() {
            let bucket = TokenBucket::new(self.story.rate, self.story.burst, self.story.queue.0);
            self.flows.entry(outward).or_insert([bucket; 2]);
        }
        let bucket = if let Some([client, _]) = self.flows.get_mut(&outward) {
            client
        } else if let Some([_, server]) = self.flows.get_mut(&inward) {
            server
        } else {
            return;
        };
        match bucket.take(packet.datagram.to_bytes().len(), at) {
            Some(wait) if wait.is_zero() => {}
            Some(wait) => act.hold_it(wait),
            None => act.drop_it(),
        }
    }
}

/// What is left of a flow's allowance.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    bytes: u64,
}

/// A limit on how much of a flow gets through.
#[derive(Debug)]
pub(crate) struct Freeze {
    story: FreezeStory,
    trigger: Trigger,
    chance: Chance,
    flows: BTreeMap<FlowName, Allowance>,
}

impl Freeze {
    /// A limit as the story describes it.
    pub(crate) fn new(story: &FreezeStory, trigger: Trigger, chance: Chance) -> Self {
        Self {
            story: story.clone(),
            trigger,
            chance,
            flows: BTreeMap::new(),
        }
    }
}

impl FilteringEquipment for Freeze {
    fn on_packet(&mut self, packet: &Carried<'_>, _at: SimTime, act: &mut Acts) {
        let Some((outward, inward)) = names(packet) else { return };
        if self.trigger.hears(packet.datagram).is_some() {
            let [least, most] = self.story.bytes;
            let bytes = least + self.chance.below(most.saturating_sub(least) + 1);
            self.flows.entry(outward).or_insert(Allowance { bytes });
            return;
        }
        if self.flows.get(&outward).is_some_and(|allowance| allowance.bytes == 0) {
            act.drop_it();
            return;
        }
        let Some(allowance) = self.flows.get_mut(&inward) else {
            return;
        };
        let payload = match &packet.datagram.body {
            Body::Tcp(segment) => segment.payload.len() as u64,
            Body::Udp(message) => message.payload.len() as u64,
            Body::Icmp(_) => 0,
        };
        if payload > allowance.bytes || allowance.bytes == 0 {
            allowance.bytes = 0;
            act.drop_it();
        } else {
            allowance.bytes -= payload;
        }
    }
}
