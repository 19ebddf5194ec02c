//! Addresses cut off: packets to them, or from them, end here, whatever they carry. For a while, as when Spanish
//! operators null-route a content network's addresses for the length of a football match, or for everything but a few,
//! as in a shutdown (wire-facts 7.1, 7.5).

use std::net::IpAddr;

use crate::scenario::equipment::prohibition::Prohibition;
use crate::scenario::filtering_equipment::{Acts, Carried, FilteringEquipment};
use crate::scenario::sim_time::SimTime;
use crate::scenario::story::{BlackholeStory, DropSides};

/// A null route.
#[derive(Debug)]
pub(crate) struct Blackhole {
    story: BlackholeStory,
    prohibition: Option<Prohibition>,
    hosts: Vec<IpAddr>,
    except: Vec<IpAddr>,
}

impl Blackhole {
    /// A null route as the story describes it.
    pub(crate) fn new(story: &BlackholeStory, addresses: &dyn Fn(&str) -> Vec<IpAddr>) -> Self {
        let all = |names: &[toml::Spanned<String>]| -> Vec<IpAddr> {
            names.iter().flat_map(|name| addresses(name.get_ref())).collect()
        };
        Self {
            prohibition: story.icmp.as_ref().map(|icmp| Prohibition::new(icmp, addresses)),
            hosts: all(&story.hosts),
            except: all(&story.except),
            story: story.clone(),
        }
    }

    fn cut_off(&self, address: IpAddr) -> bool {
        if self.hosts.is_empty() {
            !self.except.contains(&address)
        } else {
            self.hosts.contains(&address)
        }
    }
}

impl FilteringEquipment for Blackhole {
    fn on_packet(&mut self, packet: &Carried<'_>, at: SimTime, act: &mut Acts) {
        let now = at.since(SimTime::ZERO);
        if now < self.story.from.0 || self.story.until.is_some_and(|until| now >= until.0) {
            return;
        }
        let ip = &packet.datagram.ip;
        let (to, from) = (self.cut_off(ip.dst), self.cut_off(ip.src));
        let hit = match self.story.sides {
            DropSides::Both => to || from,
            DropSides::Client => to,
            DropSides::Server => from,
        };
        if !hit {
            return;
        }
        act.drop_it();
        if let (Some(prohibition), true) = (&self.prohibition, to) {
            prohibition.say(packet, act);
        }
    }
}
