//! The seam every piece of filtering equipment fits: it is shown each packet that passes its router and says what it
//! does: let it pass, drop it, rewrite it, inject others. A new piece is one file in `equipment/`, a table in the story
//! and an arm in [`install`].
//!
//! Equipment on the path sees a copy and can only inject; the network ignores a drop or a rewriting from it. What is
//! injected starts at the equipment's own router with the TTL it was given, and is routed like anything else.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::chance::Chance;
use super::datagram::{Body, Datagram, Segment, flag};
use super::dns;
use super::equipment::{
    blackhole::Blackhole,
    block_page::BlockPage,
    dns_forger::DnsForger,
    interceptor::Interceptor,
    lying_resolver::LyingResolver,
    reset_injector::ResetInjector,
    silent_drop::SilentDrop,
    slowing::{Freeze, Throttle},
    stream_injector::StreamInjector,
};
use super::http;
use super::quic;
use super::sim_time::SimTime;
use super::story::{EquipmentStory, HelloStory, Position, TriggerStory, matches};
use super::tls;

/// Number of a packet within one simulation.
pub(crate) type ParcelId = u64;

/// A packet as equipment sees it pass.
#[derive(Debug)]
pub(crate) struct Carried<'a> {
    /// Its number.
    pub(crate) id: ParcelId,
    /// The packet, its TTL as it is on arrival.
    pub(crate) datagram: &'a Datagram,
}

/// What becomes of the packet shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on.
    #[default]
    Pass,
    /// It ends here.
    Drop,
    /// It goes on, this much later.
    Hold(Duration),
    /// It goes on as this one.
    Rewrite(Box<Datagram>),
}

/// A packet to be injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Injection {
    /// How long after the packet shown.
    pub(crate) after: Duration,
    /// The forged packet.
    pub(crate) datagram: Datagram,
    /// The packet that set it off.
    pub(crate) trigger: ParcelId,
}

/// What equipment does about one packet.
#[derive(Debug, Default)]
pub(crate) struct Acts {
    /// The packet's fate.
    pub(crate) fate: Fate,
    /// What set a rewriting off, if it was another packet.
    pub(crate) because: Option<ParcelId>,
    /// Packets to inject.
    pub(crate) injections: Vec<Injection>,
}

impl Acts {
    /// Lets the packet end here.
    pub(crate) fn drop_it(&mut self) {
        self.fate = Fate::Drop;
    }

    /// Lets the packet wait.
    pub(crate) fn hold_it(&mut self, wait: Duration) {
        self.fate = Fate::Hold(wait);
    }

    /// Sends a forged packet a while later.
    pub(crate) fn inject(&mut self, after: Duration, datagram: Datagram, trigger: ParcelId) {
        self.injections.push(Injection {
            after,
            datagram,
            trigger,
        });
    }
}

/// Anything an operator puts on or beside the path to filter.
pub(crate) trait FilteringEquipment {
    /// Is shown a packet that arrives at the equipment's router.
    fn on_packet(&mut self, packet: &Carried<'_>, at: SimTime, act: &mut Acts);
}

/// Builds the equipment a story describes; `now` is when it begins, in seconds since 1970.
pub(crate) fn install(
    story: &EquipmentStory,
    addresses: &dyn Fn(&str) -> Vec<IpAddr>,
    now: u64,
    chance: Chance,
) -> Box<dyn FilteringEquipment> {
    let trigger = Trigger::new(&story.trigger, addresses);
    let reaction = Reaction {
        delay: story.delay.0,
        jitter: story.jitter.0,
    };
    if let Some(reset) = &story.reset {
        Box::new(ResetInjector::new(reset, trigger, reaction, chance))
    } else if let Some(dns) = &story.dns {
        Box::new(DnsForger::new(dns, trigger, reaction, chance))
    } else if let Some(page) = &story.page {
        Box::new(BlockPage::new(page, trigger, reaction, chance))
    } else if let Some(inject) = &story.inject {
        Box::new(StreamInjector::new(inject, trigger, reaction, chance))
    } else if let Some(blackhole) = &story.blackhole {
        Box::new(Blackhole::new(blackhole, addresses))
    } else if let Some(freeze) = &story.freeze {
        Box::new(Freeze::new(freeze, trigger, chance))
    } else if let Some(throttle) = &story.throttle {
        Box::new(Throttle::new(throttle, trigger))
    } else if let Some(lie) = &story.lie {
        Box::new(LyingResolver::new(lie, trigger, addresses))
    } else if let Some(intercept) = &story.intercept {
        Box::new(Interceptor::new(intercept, trigger, now))
    } else {
        let drop = story.drop.clone().unwrap_or_default();
        Box::new(SilentDrop::new(&drop, trigger, addresses, chance))
    }
}

/// Whether equipment may touch packets or only adds to them.
pub(crate) fn may_touch(position: Position) -> bool {
    match position {
        Position::InPath => true,
        Position::OnPath => false,
    }
}

/// How long equipment takes to react.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaction {
    delay: Duration,
    jitter: Duration,
}

impl Reaction {
    /// The time this reaction takes.
    pub(crate) fn draw(&self, chance: &mut Chance) -> Duration {
        self.delay + chance.up_to(self.jitter)
    }
}

/// What a packet said that equipment listens for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A Host header.
    Host,
    /// A TLS server name.
    Sni,
    /// A DNS query, in one UDP datagram or in one TCP segment.
    Query,
    /// A SYN to a listed address.
    Syn,
    /// The server name of a QUIC Initial.
    QuicSni,
    /// A ClientHello of a listed form.
    Hello,
}

/// What sets equipment off. It looks at single packets, without reassembly, as most filters do.
#[derive(Clone, Debug)]
pub(crate) struct Trigger {
    hosts: Vec<String>,
    snis: Vec<String>,
    qnames: Vec<String>,
    quic_snis: Vec<String>,
    hellos: Vec<HelloStory>,
    syn_to: Vec<IpAddr>,
}

impl Trigger {
    fn new(story: &TriggerStory, addresses: &dyn Fn(&str) -> Vec<IpAddr>) -> Self {
        Self {
            hosts: story.hosts.clone(),
            snis: story.snis.clone(),
            qnames: story.qnames.clone(),
            quic_snis: story.quic_snis.clone(),
            hellos: story.hellos.clone(),
            syn_to: story.syn_to.iter().flat_map(|host| addresses(host.get_ref())).collect(),
        }
    }

    /// Whether this packet sets the equipment off, and by what.
    pub(crate) fn hears(&self, datagram: &Datagram) -> Option<Heard> {
        let listed = |list: &[String], name: &str| list.iter().any(|pattern| matches(pattern, name));
        match &datagram.body {
            Body::Tcp(segment) if segment.has(flag::SYN) => {
                let bare = !segment.has(flag::ACK) && self.syn_to.contains(&datagram.ip.dst);
                bare.then_some(Heard::Syn)
            }
            Body::Tcp(segment) if segment.payload.is_empty() => None,
            Body::Tcp(segment) => {
                if tls::server_name(&segment.payload).is_some_and(|name| listed(&self.snis, &name)) {
                    Some(Heard::Sni)
                } else if (self.hellos.contains(&HelloStory::Esni) && tls::is_esni_hello(&segment.payload))
                    || (self.hellos.contains(&HelloStory::Ech) && tls::is_ech_hello(&segment.payload))
                {
                    Some(Heard::Hello)
                } else if http::host_of(&segment.payload).is_some_and(|name| listed(&self.hosts, &name)) {
                    Some(Heard::Host)
                } else if segment.dst_port == 53
                    && let Some(message) = segment.payload.get(2..)
                    && self.asks(message)
                {
                    Some(Heard::Query)
                } else {
                    None
                }
            }
            Body::Udp(message) if message.dst_port == 53 && self.asks(&message.payload) => Some(Heard::Query),
            Body::Udp(message) if message.dst_port == 443 && !self.quic_snis.is_empty() => {
                let name = quic::server_name(&message.payload)?;
                listed(&self.quic_snis, &name).then_some(Heard::QuicSni)
            }
            Body::Udp(_) | Body::Icmp(_) => None,
        }
    }

    fn asks(&self, message: &[u8]) -> bool {
        !dns::is_answer(message)
            && dns::read_question(message)
                .is_some_and(|question| self.qnames.iter().any(|pattern| matches(pattern, &question.name)))
    }
}

/// A TCP flow as equipment remembers it: the client is the side that said the forbidden thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlowName {
    /// The client's address and port.
    pub(crate) client: (IpAddr, u16),
    /// The server's address and port.
    pub(crate) server: (IpAddr, u16),
}

impl FlowName {
    /// The flow of a segment sent by the client.
    pub(crate) fn from_client(datagram: &Datagram, segment: &Segment) -> Self {
        Self {
            client: (datagram.ip.src, segment.src_port),
            server: (datagram.ip.dst, segment.dst_port),
        }
    }

    /// The flow of a segment sent by the server.
    pub(crate) fn from_server(datagram: &Datagram, segment: &Segment) -> Self {
        Self {
            client: (datagram.ip.dst, segment.dst_port),
            server: (datagram.ip.src, segment.src_port),
        }
    }
}

/// What equipment knows of the sender it is about to impersonate: the headers of that sender's last packet here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acquaintances {
    last: BTreeMap<(IpAddr, u16, IpAddr, u16), u8>,
}

impl Acquaintances {
    /// Looks at a passing packet.
    pub(crate) fn notice(&mut self, datagram: &Datagram) {
        if let Some(segment) = datagram.tcp() {
            let key = (datagram.ip.src, segment.src_port, datagram.ip.dst, segment.dst_port);
            self.last.insert(key, datagram.ip.ttl);
        }
    }

    /// The TTL with which packets from `from` to `to` arrive here.
    pub(crate) fn ttl(&self, from: (IpAddr, u16), to: (IpAddr, u16)) -> Option<u8> {
        self.last.get(&(from.0, from.1, to.0, to.1)).copied()
    }
}
