//! The forge: from a story to a capture file, and to the truth about it.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::capture_writer::{self, CaptureWriter};
use super::chance::Chance;
use super::conversation::{Lookup, LookupManner, Scan, Task, Visit};
use super::filtering_equipment::{self, ParcelId};
use super::host::{Host, HostParts};
use super::network::{Chronicle, LossCause, Network, NodeId, Origin};
use super::quic_visit::QuicVisit;
use super::renumbering::Renumbering;
use super::server::{Resolver, Zone};
use super::sim_time::SimTime;
use super::story::{ConversationStory, Framing, HostStory, Story, StoryError};

/// How long a story may last that does not say it.
const LONGEST: Duration = Duration::from_secs(600);

/// How a story is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForgeOptions {
    /// Leave the filtering equipment out, as if it had never been bought.
    pub without_equipment: bool,
    /// Let everything happen this much later.
    pub shift: Duration,
    /// Give every host another address of the same class; see [`Renumbering`].
    pub renumber: bool,
    /// Another seed than the story's.
    pub seed: Option<u64>,
}

/// A capture and the truth about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forged {
    /// The capture: a classic pcap file with microsecond timestamps.
    pub pcap: Vec<u8>,
    /// Who made each frame, and what did not arrive.
    pub truth: Truth,
}

/// The truth about a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// One entry a frame, in the capture's order: frame number 1 is the first.
    pub frames: Vec<FrameTruth>,
    /// Captured packets that did not reach their destination.
    pub dropped: Vec<DropTruth>,
    /// Captured packets that equipment let through, but later.
    pub held: Vec<HeldTruth>,
}

/// The truth about one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameTruth {
    /// Frame number, from 1, as Wireshark counts.
    pub number: u64,
    /// The host or the equipment it came from, by its name in the story.
    pub sender: String,
    /// How it came about.
    pub making: Making,
    /// The first frame that shows the same packet, if this is another copy of it.
    pub copy_of: Option<u64>,
}

/// How a frame came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Making {
    /// Its sender is who it says.
    Genuine,
    /// Equipment made it up. `trigger` is the frame that set the equipment off, if the tap saw it.
    Forged {
        /// Number of the triggering frame.
        trigger: Option<u64>,
    },
    /// A genuine packet whose content equipment replaced.
    Rewritten {
        /// Number of the triggering frame.
        trigger: Option<u64>,
    },
}

/// A captured packet that did not reach its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropTruth {
    /// Its frame.
    pub number: u64,
    /// What became of it.
    pub cause: DropCause,
}

/// A captured packet that equipment kept waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldTruth {
    /// Its first frame.
    pub number: u64,
    /// The equipment, by its name in the story.
    pub equipment: String,
    /// For how long.
    pub wait: Duration,
}

/// Why a packet did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DropCause {
    /// This equipment took it out or replaced it.
    Equipment(String),
    /// A link lost it.
    Lost,
    /// Its time to live ran out.
    TimeToLive,
    /// Nobody has that address.
    NoRoute,
    /// Its receiver was down.
    HostDown,
}

impl Truth {
    /// Numbers of all frames that equipment forged or rewrote.
    #[must_use]
    pub fn forged(&self) -> Vec<u64> {
        self.frames
            .iter()
            .filter(|frame| frame.making != Making::Genuine)
            .map(|frame| frame.number)
            .collect()
    }
}

/// Tells a story: gives what its tap saw as a pcap file.
///
/// The same story and options give the same bytes, always.
///
/// # Errors
///
/// [`StoryError`] when the story cannot be told.
pub fn forge(story: &Story, options: &ForgeOptions) -> Result<Vec<u8>, StoryError> {
    forge_with_truth(story, options).map(|forged| forged.pcap)
}

/// Like [`forge`], with the truth about every frame.
///
/// # Errors
///
/// [`StoryError`] when the story cannot be told.
pub fn forge_with_truth(story: &Story, options: &ForgeOptions) -> Result<Forged, StoryError> {
    let builder = Builder::new(story, options);
    let network = builder.build()?;
    let until = SimTime::ZERO + story.lasts.map_or(LONGEST, |lasts| lasts.0);
    let chronicle = network.run(until);
    let tap = &story.tap[0];
    let link_type = match tap.framing {
        Framing::Ethernet => capture_writer::ETHERNET,
        Framing::Raw => capture_writer::RAW,
    };
    let mut writer = CaptureWriter::new(link_type, tap.snaplen);
    let start = u64::try_from(options.shift.as_nanos())
        .unwrap_or(u64::MAX)
        .saturating_add(story.start_seconds() * 1_000_000_000);
    for recorded in &chronicle.tape {
        writer.frame(start.saturating_add(recorded.at.nanos()), &recorded.bytes);
    }
    Ok(Forged {
        pcap: writer.finish(),
        truth: tell(story, &chronicle, &builder.node_names()),
    })
}

fn tell(story: &Story, chronicle: &Chronicle, nodes: &[String]) -> Truth {
    let Chronicle { tape, lost, held } = chronicle;
    let mut first: BTreeMap<ParcelId, u64> = BTreeMap::new();
    for (index, recorded) in tape.iter().enumerate() {
        first.entry(recorded.parcel).or_insert(index as u64 + 1);
    }
    let equipment = |index: usize| story.equipment[index].name.get_ref().clone();
    let frames = tape
        .iter()
        .enumerate()
        .map(|(index, recorded)| {
            let number = index as u64 + 1;
            let seen = |trigger: &ParcelId| first.get(trigger).copied();
            let (sender, making) = match &recorded.origin {
                Origin::Host(node) => (nodes[*node].clone(), Making::Genuine),
                Origin::Forged { equipment: by, trigger } => {
                    (equipment(*by), Making::Forged { trigger: seen(trigger) })
                }
                Origin::Rewritten {
                    equipment: by, trigger, ..
                } => (equipment(*by), Making::Rewritten { trigger: seen(trigger) }),
            };
            let copy_of = first
                .get(&recorded.parcel)
                .copied()
                .filter(|original| *original != number);
            FrameTruth {
                number,
                sender,
                making,
                copy_of,
            }
        })
        .collect();
    let mut dropped: Vec<DropTruth> = lost
        .iter()
        .filter_map(|lost| {
            let cause = match lost.cause {
                LossCause::Equipment(index) => DropCause::Equipment(equipment(index)),
                LossCause::Link => DropCause::Lost,
                LossCause::TimeToLive => DropCause::TimeToLive,
                LossCause::NoRoute => DropCause::NoRoute,
                LossCause::HostDown => DropCause::HostDown,
            };
            Some(DropTruth {
                number: *first.get(&lost.parcel)?,
                cause,
            })
        })
        .collect();
    dropped.sort_by_key(|dropped| dropped.number);
    let held = held
        .iter()
        .filter_map(|held| {
            Some(HeldTruth {
                number: *first.get(&held.parcel)?,
                equipment: equipment(held.equipment),
                wait: held.wait,
            })
        })
        .collect();
    Truth { frames, dropped, held }
}

/// Builds the network a story describes.
struct Builder<'a> {
    story: &'a Story,
    options: &'a ForgeOptions,
    renumbering: Renumbering,
    chance: Chance,
}

impl<'a> Builder<'a> {
    fn new(story: &'a Story, options: &'a ForgeOptions) -> Self {
        let renumbering = if options.renumber {
            Renumbering::of_story(story)
        } else {
            Renumbering::default()
        };
        Self {
            story,
            options,
            renumbering,
            chance: Chance::new(options.seed.unwrap_or(story.seed)),
        }
    }

    /// Names of the nodes: routers in dependency order, then hosts.
    fn node_names(&self) -> Vec<String> {
        let routers = self
            .routers_from_root()
            .into_iter()
            .map(|index| self.story.router[index].name.get_ref().clone());
        routers
            .chain(self.story.host.iter().map(|host| host.name.get_ref().clone()))
            .collect()
    }

    /// Router indices, each after the one it leads to.
    fn routers_from_root(&self) -> Vec<usize> {
        let mut order: Vec<usize> = Vec::new();
        while order.len() < self.story.router.len() {
            let before = order.len();
            for (index, router) in self.story.router.iter().enumerate() {
                let ready = router.towards.as_ref().is_none_or(|towards| {
                    order
                        .iter()
                        .any(|placed| self.story.router[*placed].name.get_ref() == towards.get_ref())
                });
                if ready && !order.contains(&index) {
                    order.push(index);
                }
            }
            if order.len() == before {
                // A circle; the story's check has refused it already.
                break;
            }
        }
        order
    }

    fn addresses_of(&self, host: &HostStory) -> Vec<IpAddr> {
        host.addresses
            .get_ref()
            .iter()
            .map(|address| self.renumbering.of(*address))
            .collect()
    }

    fn addresses_named(&self, name: &str) -> Vec<IpAddr> {
        self.story
            .host
            .iter()
            .find(|host| host.name.get_ref() == name)
            .map(|host| self.addresses_of(host))
            .unwrap_or_default()
    }

    fn build(&self) -> Result<Network, StoryError> {
        let names = self.node_names();
        let node = |name: &str| -> Result<NodeId, StoryError> {
            names.iter().position(|known| known == name).ok_or_else(|| StoryError {
                line: 0,
                problem: format!("nothing is called `{name}`"),
                advice: "define it or correct the name".into(),
            })
        };
        let mut network = Network::new(self.chance.fork("network"));
        for index in self.routers_from_root() {
            let router = &self.story.router[index];
            let parent = router
                .towards
                .as_ref()
                .map(|towards| node(towards.get_ref()))
                .transpose()?;
            network.add_router(router.name.get_ref(), parent, router.link);
        }
        let renumbered = |address: IpAddr| self.renumbering.of(address);
        let zone = Rc::new(Zone::of(self.story, &renumbered));
        for host in &self.story.host {
            let name = host.name.get_ref();
            let dns = host.dns.as_ref().map(|dns| {
                let upstreams = dns
                    .upstreams
                    .iter()
                    .filter_map(|upstream| self.addresses_named(upstream.get_ref()).first().copied())
                    .collect();
                let chance = self.chance.fork(&format!("resolver {name}"));
                Resolver::new(dns, Rc::clone(&zone), upstreams, &renumbered, chance)
            });
            let resolver = host.resolver.as_ref().map(|name| self.addresses_named(name.get_ref()));
            let parts = HostParts {
                addresses: self.addresses_of(host),
                resolver: resolver.unwrap_or_default(),
                os: host.os,
                closed_ports: host.closed_ports,
                gate: host.gate,
                late_answers: host.late_answers,
                web: host.web.clone().map(Rc::new),
                dns,
                quic: host.quic,
                epoch: self.story.start_seconds() + self.options.shift.as_secs(),
                chance: self.chance.fork(&format!("host {name}")),
            };
            let added = network.add_host(
                name,
                node(host.at.get_ref())?,
                host.link,
                host.moves.clone(),
                Host::new(parts),
            );
            network.let_fail(added, &host.outages);
        }
        for tap in &self.story.tap {
            network.tap(node(tap.at.get_ref())?, node(tap.towards.get_ref())?, tap);
        }
        if !self.options.without_equipment {
            for equipment in &self.story.equipment {
                let chance = self.chance.fork(&format!("equipment {}", equipment.name.get_ref()));
                let device = filtering_equipment::install(
                    equipment,
                    &|name| self.addresses_named(name),
                    self.story.start_seconds() + self.options.shift.as_secs(),
                    chance,
                );
                network.install(node(equipment.at.get_ref())?, equipment.position, device);
            }
        }
        for conversation in &self.story.conversation {
            let client = node(conversation.client.get_ref())?;
            for turn in 0..conversation.repeat {
                let at = SimTime::ZERO + conversation.at.0 + conversation.every.0 * turn;
                if let (Some(task), Some(host)) = (self.task(conversation, turn), network.host_mut(client)) {
                    host.assign(task, at);
                }
            }
        }
        Ok(network)
    }

    /// The `turn`-th repetition of a conversation.
    fn task(&self, conversation: &ConversationStory, turn: u32) -> Option<Task> {
        if let Some(visit) = &conversation.visit {
            let direct = visit
                .to
                .as_ref()
                .map(|to| self.addresses_named(to.get_ref()))
                .unwrap_or_default();
            let name = &visit.names[turn as usize % visit.names.len()];
            return Some(Task::Visit(Box::new(Visit::new(Rc::new(visit.clone()), name, direct))));
        }
        if let Some(lookup) = &conversation.lookup {
            let client = self
                .story
                .host
                .iter()
                .find(|host| host.name.get_ref() == conversation.client.get_ref())?;
            let resolver = lookup.resolver.as_ref().or(client.resolver.as_ref())?;
            let own = self.addresses_of(client);
            let resolver = self
                .addresses_named(resolver.get_ref())
                .into_iter()
                .find(|address| own.iter().any(|own| own.is_ipv4() == address.is_ipv4()))?;
            let name = &lookup.names[turn as usize % lookup.names.len()];
            let ask = |kind: &_| Lookup::new(name, *kind, resolver, LookupManner::of(lookup));
            return Some(Task::Lookups(lookup.kinds.iter().map(ask).collect()));
        }
        if let Some(quic) = &conversation.quic {
            let direct = quic
                .to
                .as_ref()
                .and_then(|to| self.addresses_named(to.get_ref()).first().copied());
            let name = &quic.names[turn as usize % quic.names.len()];
            return Some(Task::Quic(Box::new(QuicVisit::new(
                Rc::new(quic.clone()),
                name,
                direct,
            ))));
        }
        let scan = conversation.scan.as_ref()?;
        let targets: VecDeque<(IpAddr, u16)> = scan
            .targets
            .iter()
            .filter_map(|target| self.addresses_named(target.get_ref()).first().copied())
            .flat_map(|target| scan.ports.iter().map(move |port| (target, *port)))
            .collect();
        Some(Task::Scan(Scan::new(targets, scan.gap.0)))
    }
}
