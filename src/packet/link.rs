//! From a frame to its IP header: what lies below, link type by link type.
//!
//! Ethernet (802.1Q, QinQ, MPLS, PPPoE, LLC/SNAP), Linux cooked captures, BSD loopback, PPP, Cisco HDLC and raw IP.
//! An own loop, because etherparse decodes neither MPLS, PPPoE, SLL2, PPP nor loopback.

use super::dissect::Undissected;
use super::frame::LinkType;
use super::host_pair::HostPair;

/// Where the IP header starts, and what the link layer said about the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkHeader<'a> {
    /// The bytes from the IP header on.
    pub bytes: &'a [u8],
    /// The outermost VLAN id, if the frame is tagged.
    pub vlan: Option<u16>,
    /// A digest of the link-layer source address; 0 where there is none.
    pub link_source: u32,
}

/// What the link layer of a frame said, kept apart from its bytes, so that it is looked at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peeled {
    /// Which hosts the frame is between.
    pub pair: HostPair,
    ip_at: u32,
    link_source: u32,
    vlan: Option<u16>,
}

impl Peeled {
    /// Peels `frame` down to its IP header.
    ///
    /// # Errors
    /// As [`network_header`].
    #[inline]
    pub fn of(link: LinkType, frame: &[u8]) -> Result<Self, Undissected> {
        let header = network_header(link, frame)?;
        Ok(Self {
            pair: HostPair::of_packet(header.bytes),
            ip_at: (frame.len() - header.bytes.len()) as u32,
            link_source: header.link_source,
            vlan: header.vlan,
        })
    }

    /// The network header of `frame`, which must be the frame that was peeled.
    #[inline]
    #[must_use]
    pub fn header<'a>(&self, frame: &'a [u8]) -> NetworkHeader<'a> {
        NetworkHeader {
            bytes: &frame[self.ip_at as usize..],
            vlan: self.vlan,
            link_source: self.link_source,
        }
    }
}

/// How many tags and labels a frame may stack before it is called nonsense.
const MOST_TAGS: usize = 8;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Peels `frame` down to its IP header.
///
/// # Errors
/// The reason why there is none: not IP, cut short, or a link type that is not known.
#[inline]
pub fn network_header(link: LinkType, frame: &[u8]) -> Result<NetworkHeader<'_>, Undissected> {
    let plain = |bytes| {
        Ok(NetworkHeader {
            bytes,
            vlan: None,
            link_source: 0,
        })
    };
    match link {
        LinkType::ETHERNET => {
            let header = frame.first_chunk::<14>().ok_or(Undissected::CutShort)?;
            let [_, _, _, _, _, _, a, b, c, d, e, f, high, low] = *header;
            let (ether_type, source) = (u16::from_be_bytes([high, low]), digest([a, b, c, d, e, f]));
            if matches!(ether_type, IPV4 | IPV6) {
                return Ok(NetworkHeader {
                    bytes: &frame[14..],
                    vlan: None,
                    link_source: source,
                });
            }
            by_ether_type(ether_type, &frame[14..], source)
        }
        LinkType::LINUX_SLL => {
            let header = frame.first_chunk::<16>().ok_or(Undissected::CutShort)?;
            let [_, _, _, _, _, _, a, b, c, d, e, f, _, _, high, low] = *header;
            by_ether_type(
                u16::from_be_bytes([high, low]),
                &frame[16..],
                digest([a, b, c, d, e, f]),
            )
        }
        LinkType::LINUX_SLL2 => {
            let header = frame.first_chunk::<20>().ok_or(Undissected::CutShort)?;
            let [high, low, _, _, _, _, _, _, _, _, _, _, a, b, c, d, e, f, _, _] = *header;
            by_ether_type(
                u16::from_be_bytes([high, low]),
                &frame[20..],
                digest([a, b, c, d, e, f]),
            )
        }
        LinkType::NULL | LinkType::LOOP => {
            let family = frame.first_chunk::<4>().ok_or(Undissected::CutShort)?;
            // Some taps write Cisco HDLC under this link type as well.
            if let [0x0f | 0x8f, 0, high, low] = *family {
                return by_ether_type(u16::from_be_bytes([high, low]), &frame[4..], 0);
            }
            // AF_INET is 2 everywhere; AF_INET6 is 10, 24, 28 or 30 by system. Either byte order.
            let family = u32::from_be_bytes(*family);
            match family.min(family.swap_bytes()) {
                2 | 10 | 24 | 28 | 30 => plain(&frame[4..]),
                _ => Err(Undissected::NotIp),
            }
        }
        LinkType::PPP | LinkType::PPP_HDLC => by_ppp(match frame {
            [0xff, 0x03, rest @ ..] => rest,
            // Cisco HDLC may share this link type: address 0x0f or 0x8f, control 0.
            [0x0f | 0x8f, 0, a, b, rest @ ..] => return by_ether_type(u16::from_be_bytes([*a, *b]), rest, 0),
            _ => frame,
        }),
        LinkType::PPP_WITH_DIRECTION => by_ppp(match frame {
            [_, 0xff, 0x03, rest @ ..] | [_, rest @ ..] => rest,
            [] => return Err(Undissected::CutShort),
        }),
        LinkType::PPP_ETHER => by_ppp(frame.get(6..).ok_or(Undissected::CutShort)?),
        LinkType::C_HDLC => {
            let header = frame.first_chunk::<4>().ok_or(Undissected::CutShort)?;
            by_ether_type(u16::from_be_bytes([header[2], header[3]]), &frame[4..], 0)
        }
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD | LinkType::IPV4 | LinkType::IPV6 => plain(frame),
        LinkType(_) => Err(Undissected::UnknownLinkType),
    }
}

fn by_ether_type(mut ether_type: u16, mut bytes: &[u8], link_source: u32) -> Result<NetworkHeader<'_>, Undissected> {
    let mut vlan = None;
    for _ in 0..MOST_TAGS {
        match ether_type {
            IPV4 | IPV6 => {
                return Ok(NetworkHeader {
                    bytes,
                    vlan,
                    link_source,
                });
            }
            0x8100 | 0x88a8 | 0x9100 | 0x9200 => {
                let tag = bytes.first_chunk::<4>().ok_or(Undissected::CutShort)?;
                vlan = vlan.or(Some(u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff));
                ether_type = u16::from_be_bytes([tag[2], tag[3]]);
                bytes = &bytes[4..];
            }
            // Cisco metadata (TrustSec's group tags): a version, how many words of options, and the type behind them.
            0x8909 => {
                let words = usize::from(*bytes.get(1).ok_or(Undissected::CutShort)?);
                let behind = bytes.get(2 + 4 * words..).ok_or(Undissected::CutShort)?;
                let inner = behind.first_chunk::<2>().ok_or(Undissected::CutShort)?;
                ether_type = u16::from_be_bytes(*inner);
                bytes = &behind[2..];
            }
            // MPLS: labels until the bottom of the stack; what follows is told by the first nibble (RFC 4928).
            0x8847 | 0x8848 => {
                let label = bytes.first_chunk::<4>().ok_or(Undissected::CutShort)?;
                bytes = &bytes[4..];
                if label[2] & 1 == 1 {
                    ether_type = match bytes.first().map(|byte| byte >> 4) {
                        Some(4) => IPV4,
                        Some(6) => IPV6,
                        // A pseudowire control word, then Ethernet (RFC 4448).
                        Some(0) if bytes.len() >= 18 => {
                            let inner = u16::from_be_bytes([bytes[16], bytes[17]]);
                            bytes = &bytes[18..];
                            inner
                        }
                        Some(_) => return Err(Undissected::NotIp),
                        None => return Err(Undissected::CutShort),
                    };
                }
            }
            // PPPoE session: 6 bytes, then PPP.
            0x8864 => {
                let inner = by_ppp(bytes.get(6..).ok_or(Undissected::CutShort)?)?;
                return Ok(NetworkHeader {
                    vlan,
                    link_source,
                    ..inner
                });
            }
            // 802.3 length: LLC with a SNAP header carries an ether type.
            0..=1500 => match bytes {
                [0xaa, 0xaa, 0x03, _, _, _, a, b, rest @ ..] => {
                    ether_type = u16::from_be_bytes([*a, *b]);
                    bytes = rest;
                }
                _ => return Err(Undissected::NotIp),
            },
            _ => return Err(Undissected::NotIp),
        }
    }
    Err(Undissected::NotIp)
}

fn by_ppp(bytes: &[u8]) -> Result<NetworkHeader<'_>, Undissected> {
    let (protocol, rest) = match bytes {
        // A compressed protocol field is one odd byte (RFC 1661 section 6.5).
        [low, rest @ ..] if low & 1 == 1 => (u16::from(*low), rest),
        [high, low, rest @ ..] => (u16::from_be_bytes([*high, *low]), rest),
        _ => return Err(Undissected::CutShort),
    };
    match protocol {
        0x0021 | 0x0057 => Ok(NetworkHeader {
            bytes: rest,
            vlan: None,
            link_source: 0,
        }),
        0x0281 => by_ether_type(0x8847, rest, 0),
        _ => Err(Undissected::NotIp),
    }
}

/// A digest of a 48-bit link address that is never 0: the upper half of its product with an odd constant (Knuth 6.4,
/// multiplicative hashing; the constant is 2^64 divided by the golden ratio).
const fn digest(address: [u8; 6]) -> u32 {
    let [a, b, c, d, e, f] = address;
    let number = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32 | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: &[u8] = &[0x45, 0, 0, 20];

    fn peel(link: LinkType, below: &[u8]) -> Result<Vec<u8>, Undissected> {
        let frame = [below, IP].concat();
        network_header(link, &frame).map(|header| header.bytes.to_vec())
    }

    #[test]
    fn every_link_type_leads_to_the_ip_header() {
        let mac = [2; 12];
        let ethernet = |rest: &[u8]| [&mac[..], rest].concat();
        for (link, below) in [
            (LinkType::ETHERNET, ethernet(&[8, 0])),
            (LinkType::ETHERNET, ethernet(&[0x81, 0, 0, 5, 8, 0])),
            (LinkType::ETHERNET, ethernet(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0])),
            (LinkType::ETHERNET, ethernet(&[0x88, 0x47, 0, 1, 0, 64, 0, 2, 1, 64])),
            (
                LinkType::ETHERNET,
                ethernet(&[0x88, 0x64, 0x11, 0, 0, 1, 0, 6, 0, 0x21]),
            ),
            (LinkType::ETHERNET, ethernet(&[0, 28, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0])),
            (LinkType::LINUX_SLL, [&[0; 14][..], &[8, 0]].concat()),
            (LinkType::LINUX_SLL2, [&[8, 0][..], &[0; 18]].concat()),
            (LinkType::NULL, vec![2, 0, 0, 0]),
            (LinkType::NULL, vec![0, 0, 0, 2]),
            (LinkType::LOOP, vec![0, 0, 0, 2]),
            (LinkType::NULL, vec![0x0f, 0, 8, 0]),
            (LinkType::NULL, vec![0x8f, 0, 0x86, 0xdd]),
            (LinkType::ETHERNET, ethernet(&[0x89, 9, 1, 1, 0, 1, 0, 2, 8, 0])),
            (LinkType::ETHERNET, ethernet(&[0x89, 9, 1, 0, 0x81, 0, 0, 5, 8, 0])),
            (LinkType::PPP, vec![0xff, 3, 0, 0x21]),
            (LinkType::PPP, vec![0x21]),
            (LinkType::PPP_WITH_DIRECTION, vec![1, 0xff, 3, 0, 0x21]),
            (LinkType::C_HDLC, vec![0x0f, 0, 8, 0]),
            (LinkType::RAW, vec![]),
            (LinkType::RAW_BSD, vec![]),
            (LinkType::IPV4, vec![]),
        ] {
            assert_eq!(peel(link, &below).as_deref(), Ok(IP), "{link:?} {below:?}");
        }
    }

    #[test]
    fn what_is_no_ip_is_told_apart_from_what_is_cut() {
        let arp = [&[2; 12][..], &[8, 6]].concat();
        assert_eq!(peel(LinkType::ETHERNET, &arp), Err(Undissected::NotIp));
        assert_eq!(network_header(LinkType::ETHERNET, &[0; 13]), Err(Undissected::CutShort));
        let metadata = [&[2; 12][..], &[0x89, 9, 1, 9, 0, 1, 0, 2, 8, 0]].concat();
        assert_eq!(peel(LinkType::ETHERNET, &metadata), Err(Undissected::CutShort));
        assert_eq!(network_header(LinkType(147), IP), Err(Undissected::UnknownLinkType));
        let tags = [&[2; 12][..], &[0x81, 0, 0, 1].repeat(40)].concat();
        assert_eq!(peel(LinkType::ETHERNET, &tags), Err(Undissected::NotIp));
    }

    #[test]
    fn the_outermost_vlan_is_kept() {
        let frame = [&[2; 12][..], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0], IP].concat();
        assert_eq!(network_header(LinkType::ETHERNET, &frame).unwrap().vlan, Some(5));
    }
}
