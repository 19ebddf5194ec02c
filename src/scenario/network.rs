//! The network: routers in a tree, links with delay, loss and reordering, hosts at the leaves, taps on links and
//! filtering equipment at routers, driven by one queue of events in order of time.
//!
//! ```text
//!  host ── link ── router ── link ── router ── link ── host
//!                    │  └ tap: a mirror of one port
//!                    └ equipment: sees what arrives; passes, drops, rewrites, injects
//! ```
//!
//! Nothing here depends on what a packet means. Who sent each packet is carried along, so that afterwards the truth can
//! be told about every captured frame. Events are few and cheap; a bulk mode would replace the `Vec` of recorded frames
//! by a writer and leave the rest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::IpAddr;
use std::time::Duration;

use super::chance::Chance;
use super::datagram::Datagram;
use super::filtering_equipment::{Acts, Carried, Fate, FilteringEquipment, ParcelId, may_touch};
use super::host::{Host, Wake};
use super::sim_time::SimTime;
use super::story::{Framing, LinkStory, Mirror, MoveStory, OutageStory, Position, Sees, TapStory};
use super::token_bucket::TokenBucket;

/// How long a router takes to forward.
const FORWARDING: Duration = Duration::from_micros(9);

/// Index of a router or host.
pub(crate) type NodeId = usize;

/// Who made a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A host.
    Host(NodeId),
    /// Equipment, out of nothing.
    Forged { equipment: usize, trigger: ParcelId },
    /// Equipment, out of a host's packet.
    Rewritten {
        equipment: usize,
        trigger: ParcelId,
        of: NodeId,
    },
}

/// A packet on its way.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) id: ParcelId,
    pub(crate) origin: Origin,
    pub(crate) datagram: Datagram,
}

/// A frame as a tap recorded it.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) at: SimTime,
    pub(crate) bytes: Vec<u8>,
    pub(crate) parcel: ParcelId,
    pub(crate) origin: Origin,
}

/// A packet that did not arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lost {
    pub(crate) parcel: ParcelId,
    pub(crate) cause: LossCause,
}

/// A packet that equipment kept waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) parcel: ParcelId,
    pub(crate) equipment: usize,
    pub(crate) wait: Duration,
}

/// All that can be told afterwards.
pub(crate) struct Chronicle {
    /// What the taps recorded, in order of time.
    pub(crate) tape: Vec<Recorded>,
    /// What did not arrive.
    pub(crate) lost: Vec<Lost>,
    /// What was kept waiting.
    pub(crate) held: Vec<Held>,
}

/// Why a packet did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LossCause {
    Equipment(usize),
    Link,
    TimeToLive,
    NoRoute,
    HostDown,
}

#[derive(Debug)]
struct Link {
    ends: [NodeId; 2],
    story: LinkStory,
    moves: Vec<MoveStory>,
    last_arrival: [SimTime; 2],
    buckets: Option<[TokenBucket; 2]>,
    chance: Chance,
}

struct Installed {
    position: Position,
    device: Box<dyn FilteringEquipment>,
}

struct Tap {
    at: NodeId,
    towards: NodeId,
    story: TapStory,
    chance: Chance,
}

struct Node {
    mac: [u8; 6],
    parent: Option<NodeId>,
    equipment: Vec<usize>,
    host: Option<Host>,
    outages: Vec<OutageStory>,
}

enum Event {
    Arrive { node: NodeId, from: NodeId, parcel: Parcel },
    Release { node: NodeId, from: NodeId, parcel: Parcel },
    Inject { node: NodeId, parcel: Parcel },
    Wake { node: NodeId, wake: Wake },
}

struct Scheduled {
    at: SimTime,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// The simulation.
pub(crate) struct Network {
    now: SimTime,
    queue: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
    next_parcel: ParcelId,
    nodes: Vec<Node>,
    links: Vec<Link>,
    addresses: BTreeMap<IpAddr, NodeId>,
    equipment: Vec<Installed>,
    taps: Vec<Tap>,
    tape: Vec<Recorded>,
    lost: Vec<Lost>,
    held: Vec<Held>,
    chance: Chance,
}

impl Network {
    /// An empty network.
    pub(crate) fn new(chance: Chance) -> Self {
        Self {
            now: SimTime::ZERO,
            queue: BinaryHeap::new(),
            order: 0,
            next_parcel: 0,
            nodes: Vec::new(),
            links: Vec::new(),
            addresses: BTreeMap::new(),
            equipment: Vec::new(),
            taps: Vec::new(),
            tape: Vec::new(),
            lost: Vec::new(),
            held: Vec::new(),
            chance,
        }
    }

    /// Adds a router, linked to its neighbour nearer to the root.
    pub(crate) fn add_router(&mut self, name: &str, parent: Option<NodeId>, link: LinkStory) -> NodeId {
        self.add_node(name, parent, link, Vec::new(), None)
    }

    /// Adds a host with its addresses.
    pub(crate) fn add_host(
        &mut self,
        name: &str,
        parent: NodeId,
        link: LinkStory,
        moves: Vec<MoveStory>,
        host: Host,
    ) -> NodeId {
        let addresses = host.kernel.addresses.clone();
        let node = self.add_node(name, Some(parent), link, moves, Some(host));
        for address in addresses {
            self.addresses.insert(address, node);
        }
        node
    }

    fn add_node(
        &mut self,
        name: &str,
        parent: Option<NodeId>,
        story: LinkStory,
        moves: Vec<MoveStory>,
        host: Option<Host>,
    ) -> NodeId {
        let node = self.nodes.len();
        // A locally administered address of its own. Forked by name, so that it does not change with the rest.
        let mut mac = [0x02, 0, 0, 0, 0, 0];
        mac[1..].copy_from_slice(&self.chance.fork(&format!("mac {name}")).bytes(5));
        self.nodes.push(Node {
            mac,
            parent,
            equipment: Vec::new(),
            host,
            outages: Vec::new(),
        });
        if let Some(parent) = parent {
            self.links.push(Link {
                ends: [node, parent],
                story,
                moves,
                last_arrival: [SimTime::ZERO; 2],
                buckets: story
                    .rate
                    .map(|rate| [TokenBucket::new(rate, story.burst.max(3000), story.queue.0); 2]),
                chance: self.chance.fork(&format!("link {name}")),
            });
        }
        node
    }

    /// Lets a host be down at times.
    pub(crate) fn let_fail(&mut self, node: NodeId, outages: &[OutageStory]) {
        self.nodes[node].outages = outages.to_vec();
    }

    fn is_down(&self, node: NodeId) -> bool {
        let now = self.now.since(SimTime::ZERO);
        self.nodes[node]
            .outages
            .iter()
            .any(|outage| (outage.from.0..outage.until.0).contains(&now))
    }

    /// Installs equipment at a router.
    pub(crate) fn install(&mut self, at: NodeId, position: Position, device: Box<dyn FilteringEquipment>) {
        self.nodes[at].equipment.push(self.equipment.len());
        self.equipment.push(Installed { position, device });
    }

    /// Puts a tap on the link from `at` to `towards`.
    pub(crate) fn tap(&mut self, at: NodeId, towards: NodeId, story: &TapStory) {
        let chance = self.chance.fork(&format!("tap {}", self.taps.len()));
        self.taps.push(Tap {
            at,
            towards,
            story: story.clone(),
            chance,
        });
    }

    /// The host at a node, to give it something to do.
    pub(crate) fn host_mut(&mut self, node: NodeId) -> Option<&mut Host> {
        self.nodes.get_mut(node).and_then(|node| node.host.as_mut())
    }

    /// Lets everything happen until all is quiet or this moment has come, and tells it.
    pub(crate) fn run(mut self, until: SimTime) -> Chronicle {
        for node in 0..self.nodes.len() {
            self.collect(node);
        }
        while let Some(Reverse(scheduled)) = self.queue.pop() {
            if scheduled.at > until {
                break;
            }
            self.now = scheduled.at;
            match scheduled.event {
                Event::Arrive { node, from, parcel } => self.arrive(node, from, parcel),
                Event::Release { node, from, parcel } => self.forward(node, from, parcel),
                Event::Inject { node, parcel } => self.inject(node, parcel),
                Event::Wake { node, wake } => {
                    if let Some(host) = self.host_mut(node) {
                        host.wake(wake, scheduled.at);
                    }
                    self.collect(node);
                }
            }
        }
        self.tape.retain(|recorded| recorded.at <= until);
        self.tape.sort_by_key(|recorded| recorded.at);
        Chronicle {
            tape: self.tape,
            lost: self.lost,
            held: self.held,
        }
    }

    fn schedule(&mut self, at: SimTime, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Scheduled {
            at,
            order: self.order,
            event,
        }));
    }

    /// Takes up what a host wants to send and when it wants to be woken.
    fn collect(&mut self, node: NodeId) {
        let Some(host) = self.host_mut(node) else { return };
        let (out, wakes) = (host.take_out(), host.take_wakes());
        for (at, wake) in wakes {
            let at = at.max(self.now);
            self.schedule(at, Event::Wake { node, wake });
        }
        let Some(parent) = self.nodes[node].parent else { return };
        if self.is_down(node) {
            return;
        }
        // What a host sends at once leaves one after the other.
        let mut at = self.now;
        for datagram in out {
            self.next_parcel += 1;
            let parcel = Parcel {
                id: self.next_parcel,
                origin: Origin::Host(node),
                datagram,
            };
            self.depart(node, parent, parcel, at);
            at = at + Duration::from_micros(11);
        }
    }

    /// The neighbour a packet must go to next.
    fn next_hop(&self, from: NodeId, to: NodeId) -> Option<NodeId> {
        // Climb from the destination; if that passes `from`, the way leads down, otherwise up.
        let mut at = to;
        while let Some(parent) = self.nodes[at].parent {
            if parent == from {
                return Some(at);
            }
            at = parent;
        }
        self.nodes[from].parent
    }

    fn arrive(&mut self, node: NodeId, from: NodeId, mut parcel: Parcel) {
        if self.is_down(node) {
            self.lost.push(Lost {
                parcel: parcel.id,
                cause: LossCause::HostDown,
            });
            return;
        }
        if let Some(host) = self.nodes[node].host.as_mut() {
            if host.kernel.addresses.contains(&parcel.datagram.ip.dst) {
                host.receive(&parcel.datagram, self.now);
                self.collect(node);
            }
            return;
        }
        let next = self.way(node, &parcel);
        self.record_at(node, from, next, &parcel, Side::Entering, self.now);
        for index in self.nodes[node].equipment.clone() {
            let mut acts = Acts::default();
            let carried = Carried {
                id: parcel.id,
                datagram: &parcel.datagram,
            };
            self.equipment[index].device.on_packet(&carried, self.now, &mut acts);
            for injection in acts.injections {
                self.next_parcel += 1;
                let origin = Origin::Forged {
                    equipment: index,
                    trigger: injection.trigger,
                };
                let forged = Parcel {
                    id: self.next_parcel,
                    origin,
                    datagram: injection.datagram,
                };
                self.schedule(self.now + injection.after, Event::Inject { node, parcel: forged });
            }
            if !may_touch(self.equipment[index].position) {
                continue;
            }
            match acts.fate {
                Fate::Pass => {}
                Fate::Drop => {
                    self.lost.push(Lost {
                        parcel: parcel.id,
                        cause: LossCause::Equipment(index),
                    });
                    return;
                }
                Fate::Hold(wait) => {
                    self.held.push(Held {
                        parcel: parcel.id,
                        equipment: index,
                        wait,
                    });
                    self.schedule(self.now + wait, Event::Release { node, from, parcel });
                    return;
                }
                Fate::Rewrite(datagram) => {
                    self.lost.push(Lost {
                        parcel: parcel.id,
                        cause: LossCause::Equipment(index),
                    });
                    let of = match parcel.origin {
                        Origin::Host(host) | Origin::Rewritten { of: host, .. } => host,
                        Origin::Forged { .. } => node,
                    };
                    self.next_parcel += 1;
                    let trigger = acts.because.unwrap_or(parcel.id);
                    let origin = Origin::Rewritten {
                        equipment: index,
                        trigger,
                        of,
                    };
                    parcel = Parcel {
                        id: self.next_parcel,
                        origin,
                        datagram: *datagram,
                    };
                }
            }
        }
        self.forward(node, from, parcel);
    }

    /// Where a packet goes from a router.
    fn way(&self, node: NodeId, parcel: &Parcel) -> Option<NodeId> {
        let destination = self.addresses.get(&parcel.datagram.ip.dst).copied();
        destination
            .and_then(|to| self.next_hop(node, to))
            .or(self.nodes[node].parent)
    }

    /// A packet that has passed all equipment of a router leaves it.
    fn forward(&mut self, node: NodeId, from: NodeId, mut parcel: Parcel) {
        let next = self.way(node, &parcel);
        if parcel.datagram.ip.ttl <= 1 {
            self.lost.push(Lost {
                parcel: parcel.id,
                cause: LossCause::TimeToLive,
            });
            return;
        }
        parcel.datagram.ip.ttl -= 1;
        match next {
            Some(next) if next != from => {
                let at = self.now + FORWARDING;
                self.record_at(node, from, Some(next), &parcel, Side::Leaving, at);
                self.depart(node, next, parcel, at);
            }
            Some(_) | None => self.lost.push(Lost {
                parcel: parcel.id,
                cause: LossCause::NoRoute,
            }),
        }
    }

    /// Equipment's packet leaves the router on its way to its destination.
    fn inject(&mut self, node: NodeId, parcel: Parcel) {
        let Some(next) = self.way(node, &parcel) else { return };
        self.record_at(node, node, Some(next), &parcel, Side::Leaving, self.now);
        self.depart(node, next, parcel, self.now);
    }

    fn depart(&mut self, from: NodeId, to: NodeId, mut parcel: Parcel, at: SimTime) {
        let Some(link) = self
            .links
            .iter_mut()
            .find(|link| link.ends == [from, to] || link.ends == [to, from])
        else {
            return;
        };
        let direction = usize::from(link.ends[0] == from);
        let moved = link
            .moves
            .iter()
            .rev()
            .find(|change| change.at.0 <= at.since(SimTime::ZERO));
        let (delay, hops) = moved.map_or((link.story.delay.0, link.story.hops), |change| {
            (change.delay.0, change.hops)
        });
        let len = if link.story.mtu.is_some() || link.buckets.is_some() {
            parcel.datagram.to_bytes().len()
        } else {
            0
        };
        let waits = match &mut link.buckets {
            Some(buckets) => buckets[direction].take(len, at),
            None => Some(Duration::ZERO),
        };
        let too_large = link.story.mtu.is_some_and(|mtu| len > mtu);
        if too_large || waits.is_none() || link.chance.hit(link.story.loss) {
            self.lost.push(Lost {
                parcel: parcel.id,
                cause: LossCause::Link,
            });
            return;
        }
        if parcel.datagram.ip.ttl <= hops {
            self.lost.push(Lost {
                parcel: parcel.id,
                cause: LossCause::TimeToLive,
            });
            return;
        }
        parcel.datagram.ip.ttl -= hops;
        let mut arrival = at + waits.unwrap_or_default() + delay + link.chance.up_to(link.story.jitter.0);
        if link.chance.hit(link.story.reorder) {
            // Overtaken by what follows: it waits a while and nobody waits for it.
            arrival = arrival + Duration::from_millis(2) + link.chance.up_to(delay);
        } else {
            // One by one, in order.
            arrival = arrival.max(link.last_arrival[direction] + Duration::from_micros(2));
            link.last_arrival[direction] = arrival;
        }
        let twice = link.chance.hit(link.story.duplicate);
        if twice {
            let copy = parcel.clone();
            self.schedule(
                arrival + Duration::from_micros(120),
                Event::Arrive {
                    node: to,
                    from,
                    parcel: copy,
                },
            );
        }
        self.schedule(arrival, Event::Arrive { node: to, from, parcel });
    }

    /// Lets the taps at a router see a packet that enters or leaves it.
    fn record_at(
        &mut self,
        node: NodeId,
        from: NodeId,
        next: Option<NodeId>,
        parcel: &Parcel,
        side: Side,
        at: SimTime,
    ) {
        for tap in self.taps.iter_mut().filter(|tap| tap.at == node) {
            let inward = from == tap.towards;
            let outward = next == Some(tap.towards);
            let wanted = match tap.story.sees {
                Sees::Both => inward || outward,
                Sees::Inward => inward,
                Sees::Outward => outward,
            };
            // A mirrored port sees what comes in on entry and what goes out on leaving; a mirrored router sees all twice.
            let on_port = match side {
                Side::Entering => inward,
                Side::Leaving => outward,
            };
            if !wanted || !(on_port || tap.story.mirror == Mirror::Twice) || tap.chance.hit(tap.story.loss) {
                continue;
            }
            let (src, dst) = match side {
                Side::Entering => (from, node),
                Side::Leaving => (node, next.unwrap_or(node)),
            };
            let mut bytes = Vec::new();
            if tap.story.framing == Framing::Ethernet {
                bytes.extend_from_slice(&self.nodes[dst].mac);
                bytes.extend_from_slice(&self.nodes[src].mac);
                if let Some(vlan) = tap.story.vlan {
                    bytes.extend_from_slice(&[0x81, 0]);
                    bytes.extend_from_slice(&(vlan & 0xFFF).to_be_bytes());
                }
                bytes.extend_from_slice(if parcel.datagram.ip.src.is_ipv4() {
                    &[8, 0]
                } else {
                    &[0x86, 0xDD]
                });
            }
            bytes.extend(parcel.datagram.to_bytes());
            if tap.story.framing == Framing::Ethernet {
                // The shortest frame Ethernet carries, without its checksum.
                let least = if tap.story.vlan.is_some() { 64 } else { 60 };
                bytes.resize(bytes.len().max(least), 0);
            }
            self.tape.push(Recorded {
                at,
                bytes,
                parcel: parcel.id,
                origin: parcel.origin,
            });
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Entering,
    Leaving,
}
