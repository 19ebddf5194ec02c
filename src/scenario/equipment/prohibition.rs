//! "Communication administratively prohibited": what a filter sends back that says what it does (ICMP type 3 code 9, 10
//! or 13, RFC 1812 section 5.2.7.1; ICMPv6 type 1 code 1, RFC 4443 section 3.1).

use std::net::IpAddr;
use std::time::Duration;

use crate::scenario::datagram::{Body, Datagram, IcmpMessage, IpHeader};
use crate::scenario::filtering_equipment::{Acts, Carried};
use crate::scenario::story::IcmpStory;

/// How long a router takes to say no.
const REACTION: Duration = Duration::from_micros(350);
/// Header and eight bytes (RFC 792); routers quote more over IPv6.
const QUOTED_V4: usize = 28;
const QUOTED_V6: usize = 136;

/// Who says it, and how.
#[derive(Clone, Debug)]
pub(crate) struct Prohibition {
    speakers: Vec<IpAddr>,
    code: u8,
}

impl Prohibition {
    /// As the story describes it.
    pub(crate) fn new(story: &IcmpStory, addresses: &dyn Fn(&str) -> Vec<IpAddr>) -> Self {
        Self {
            speakers: addresses(story.from.get_ref()),
            code: story.code,
        }
    }

    /// Tells the packet's sender, quoting the packet.
    pub(crate) fn say(&self, packet: &Carried<'_>, act: &mut Acts) {
        let datagram = packet.datagram;
        let v4 = datagram.ip.src.is_ipv4();
        let Some(speaker) = self.speakers.iter().find(|speaker| speaker.is_ipv4() == v4) else {
            return;
        };
        let mut quote = datagram.to_bytes();
        quote.truncate(if v4 { QUOTED_V4 } else { QUOTED_V6 });
        let ip = IpHeader {
            src: *speaker,
            dst: datagram.ip.src,
            ttl: if v4 { 255 } else { 64 },
            id: datagram.ip.id.rotate_left(5) ^ 0x5A17,
            df: false,
            tos: if v4 { 0xC0 } else { 0 },
            flow_label: 0,
        };
        let body = Body::Icmp(IcmpMessage {
            kind: if v4 { 3 } else { 1 },
            code: self.code,
            rest: [0; 4],
            payload: quote,
        });
        act.inject(REACTION, Datagram { ip, body }, packet.id);
    }
}
