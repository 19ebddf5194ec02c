//! Community ID: one short text per flow that every tool computes alike, so that our findings join with Zeek's,
//! Suricata's or Arkime's records of the same flow.
//!
//! Version 1 of the specification (<https://github.com/corelight/community-id-spec>) with seed 0: the text is `1:` and
//! the base64 of a SHA-1 over seed, lower endpoint, higher endpoint, protocol, a zero byte and the two ports. Both
//! directions give the same text. It costs a SHA-1, so it belongs on the way to a finding and never on a packet's path.

use std::net::IpAddr;

use arrayvec::ArrayString;
use base64::Engine as _;
use sha1::{Digest as _, Sha1};

/// What a flow speaks above IP, as far as the Community ID looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommunityFlow {
    /// TCP with the ports of the sender and the receiver.
    Tcp {
        /// The sender's port.
        from_port: u16,
        /// The receiver's port.
        to_port: u16,
    },
    /// UDP with the ports of the sender and the receiver.
    Udp {
        /// The sender's port.
        from_port: u16,
        /// The receiver's port.
        to_port: u16,
    },
    /// ICMP for IPv4 with a message's type and code.
    Icmp {
        /// The ICMP type.
        kind: u8,
        /// The ICMP code.
        code: u8,
    },
    /// ICMPv6 with a message's type and code.
    Icmpv6 {
        /// The ICMPv6 type.
        kind: u8,
        /// The ICMPv6 code.
        code: u8,
    },
    /// Any other IP protocol, by its IANA number: the addresses alone tell flows apart.
    Other(u8),
}

/// The Community ID of the flow that a packet from `from` to `to` belongs to, for example
/// `1:LQU9qZlK+B5F3KDmev6m5PMibrg=`.
///
/// An ICMP message that has no counterpart (an error such as "unreachable") keeps its direction, as the specification
/// wants: its ID differs from that of the same message sent the other way.
#[must_use]
pub fn community_id(from: IpAddr, to: IpAddr, flow: CommunityFlow) -> ArrayString<30> {
    let (protocol, ports) = match flow {
        CommunityFlow::Tcp { from_port, to_port } => (6, Ports::Paired(from_port, to_port)),
        CommunityFlow::Udp { from_port, to_port } => (17, Ports::Paired(from_port, to_port)),
        CommunityFlow::Icmp { kind, code } => (1, icmp_ports(icmp_counterpart(kind), kind, code)),
        CommunityFlow::Icmpv6 { kind, code } => (58, icmp_ports(icmpv6_counterpart(kind), kind, code)),
        CommunityFlow::Other(number) => (number, Ports::None),
    };
    let swap = match ports {
        Ports::Paired(a, b) => (octets(to).as_slice(), b) < (octets(from).as_slice(), a),
        Ports::OneWay(..) => false,
        Ports::None => octets(to) < octets(from),
    };
    let (low, high) = if swap { (to, from) } else { (from, to) };

    let mut hash = Sha1::new();
    hash.update([0, 0]); // the seed
    hash.update(octets(low));
    hash.update(octets(high));
    hash.update([protocol, 0]);
    if let Ports::Paired(a, b) | Ports::OneWay(a, b) = ports {
        let (low, high) = if swap { (b, a) } else { (a, b) };
        hash.update(low.to_be_bytes());
        hash.update(high.to_be_bytes());
    }

    // 20 bytes of SHA-1 are always 28 characters of base64.
    let mut text = [0; 28];
    let written = base64::engine::general_purpose::STANDARD
        .encode_slice(hash.finalize(), &mut text)
        .unwrap_or_default();
    let mut id = ArrayString::new();
    id.push_str("1:");
    id.push_str(std::str::from_utf8(&text[..written]).unwrap_or_default());
    id
}

enum Ports {
    /// Two ports of which the flow has both directions.
    Paired(u16, u16),
    /// An ICMP type and code that go one way only: endpoints are not put in order.
    OneWay(u16, u16),
    /// The protocol has no ports.
    None,
}

fn icmp_ports(counterpart: Option<u8>, kind: u8, code: u8) -> Ports {
    match counterpart {
        Some(other) => Ports::Paired(kind.into(), other.into()),
        None => Ports::OneWay(kind.into(), code.into()),
    }
}

/// The answering (or asking) type of an ICMP type, as the specification pairs them after Zeek.
fn icmp_counterpart(kind: u8) -> Option<u8> {
    Some(match kind {
        8 => 0,   // echo
        0 => 8,   // echo reply
        13 => 14, // timestamp
        14 => 13,
        15 => 16, // information
        16 => 15,
        10 => 9,  // router solicitation
        9 => 10,  // router advertisement
        17 => 18, // address mask
        18 => 17,
        _ => return None,
    })
}

/// The same for ICMPv6.
fn icmpv6_counterpart(kind: u8) -> Option<u8> {
    Some(match kind {
        128 => 129, // echo
        129 => 128,
        130 => 131, // multicast listener
        131 => 130,
        133 => 134, // router
        134 => 133,
        135 => 136, // neighbour
        136 => 135,
        139 => 140, // node information
        140 => 139,
        144 => 145, // home agent address discovery
        145 => 144,
        _ => return None,
    })
}

fn octets(address: IpAddr) -> arrayvec::ArrayVec<u8, 16> {
    let mut octets = arrayvec::ArrayVec::new();
    match address {
        IpAddr::V4(v4) => octets.extend(v4.octets()),
        IpAddr::V6(v6) => octets.extend(v6.octets()),
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(from: &str, to: &str, flow: CommunityFlow) -> String {
        community_id(from.parse().unwrap(), to.parse().unwrap(), flow).to_string()
    }

    // The expected texts are the specification's baseline, and for the rest the reference implementation's.

    #[test]
    fn tcp_has_one_id_for_both_directions() {
        let forth = CommunityFlow::Tcp {
            from_port: 34855,
            to_port: 80,
        };
        let back = CommunityFlow::Tcp {
            from_port: 80,
            to_port: 34855,
        };
        assert_eq!(
            id("128.232.110.120", "66.35.250.204", forth),
            "1:LQU9qZlK+B5F3KDmev6m5PMibrg="
        );
        assert_eq!(
            id("66.35.250.204", "128.232.110.120", back),
            "1:LQU9qZlK+B5F3KDmev6m5PMibrg="
        );
    }

    #[test]
    fn udp_differs_from_tcp() {
        let udp = CommunityFlow::Udp {
            from_port: 54585,
            to_port: 53,
        };
        assert_eq!(id("192.168.1.52", "8.8.8.8", udp), "1:d/FP5EW3wiY1vCndhwleRRKHowQ=");
    }

    #[test]
    fn equal_addresses_are_ordered_by_port() {
        let forth = CommunityFlow::Udp {
            from_port: 53,
            to_port: 1000,
        };
        let back = CommunityFlow::Udp {
            from_port: 1000,
            to_port: 53,
        };
        assert_eq!(id("10.0.0.1", "10.0.0.1", forth), "1:uGC0CmE2gAPcB/S7A3ImmuWnAr0=");
        assert_eq!(id("10.0.0.1", "10.0.0.1", back), "1:uGC0CmE2gAPcB/S7A3ImmuWnAr0=");
    }

    #[test]
    fn ipv6_addresses_are_hashed_whole() {
        let tcp = CommunityFlow::Tcp {
            from_port: 443,
            to_port: 40000,
        };
        assert_eq!(id("2001:db8::2", "2001:db8::1", tcp), "1:RYG3Msb11GthNt1OYXJouPzmrvA=");
    }

    #[test]
    fn an_echo_and_its_reply_share_an_id() {
        let echo = CommunityFlow::Icmp { kind: 8, code: 0 };
        let reply = CommunityFlow::Icmp { kind: 0, code: 0 };
        assert_eq!(
            id("192.168.0.89", "192.168.0.1", echo),
            "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="
        );
        assert_eq!(
            id("192.168.0.1", "192.168.0.89", reply),
            "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="
        );
        let timestamp = CommunityFlow::Icmp { kind: 13, code: 0 };
        assert_eq!(
            id("192.168.0.89", "192.168.0.1", timestamp),
            "1:oeo0XqAz7cn/+sOcFFOn55Omz0U="
        );
    }

    #[test]
    fn an_icmp_error_keeps_its_direction() {
        let unreachable = CommunityFlow::Icmp { kind: 3, code: 1 };
        assert_eq!(
            id("192.168.0.89", "192.168.0.1", unreachable),
            "1:LXCfhMUFbYXe+CEMrQuZCbiLY3o="
        );
        assert_eq!(
            id("192.168.0.1", "192.168.0.89", unreachable),
            "1:o3zT92uTgnRWv/YrDVeXcWumpC4="
        );
    }

    #[test]
    fn icmpv6_pairs_solicitation_with_advertisement() {
        let (a, b) = ("fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea");
        let solicitation = CommunityFlow::Icmpv6 { kind: 135, code: 0 };
        let advertisement = CommunityFlow::Icmpv6 { kind: 136, code: 0 };
        assert_eq!(id(a, b, solicitation), "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=");
        assert_eq!(id(b, a, advertisement), "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=");
        let unreachable = CommunityFlow::Icmpv6 { kind: 1, code: 4 };
        assert_eq!(
            id("2001:db8::2", "2001:db8::1", unreachable),
            "1:qxd1LeYGiZWewhdgFCEH4g39f1w="
        );
    }

    #[test]
    fn a_protocol_without_ports_hashes_addresses_only() {
        assert_eq!(
            id("10.1.24.4", "10.1.12.1", CommunityFlow::Other(47)),
            "1:6JFBmF1p0LABA19nAHNSi9mGLPM="
        );
        assert_eq!(
            id("10.1.12.1", "10.1.24.4", CommunityFlow::Other(47)),
            "1:6JFBmF1p0LABA19nAHNSi9mGLPM="
        );
    }
}
