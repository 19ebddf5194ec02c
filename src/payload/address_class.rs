//! What kind of address an answer names: a public host, or one that no public name can honestly point to.
//!
//! Censors often answer with addresses that lead nowhere (Iran 10.10.34.34, Turkmenistan 127.0.0.1; wire-facts 4.2
//! BOGON). The classes follow IANA's special-purpose address registries (RFC 6890 and its successors); where ranges nest,
//! the most specific one names the class.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kind of an IP address, by IANA's special-purpose registries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressClass {
    /// An address that a public name may have.
    Public,
    /// `0.0.0.0` (RFC 1122 3.2.1.3) or `::` (RFC 4291 2.5.2).
    Unspecified,
    /// The rest of `0.0.0.0/8`, "this network" (RFC 791 3.2).
    ThisNetwork,
    /// `127.0.0.0/8` (RFC 1122) or `::1` (RFC 4291).
    Loopback,
    /// `10/8`, `172.16/12`, `192.168/16` (RFC 1918).
    Private,
    /// `100.64.0.0/10`, shared between a carrier's NAT and its customers (RFC 6598).
    Shared,
    /// `169.254.0.0/16` (RFC 3927) or `fe80::/10` (RFC 4291).
    LinkLocal,
    /// `192.0.0.0/24` (RFC 6890) or the rest of `2001::/23` (RFC 2928).
    ProtocolAssignment,
    /// `192.0.2/24`, `198.51.100/24`, `203.0.113/24` (RFC 5737), `2001:db8::/32` (RFC 3849), `3fff::/20` (RFC 9637).
    Documentation,
    /// `198.18.0.0/15` (RFC 2544) or `2001:2::/48` (RFC 5180).
    Benchmarking,
    /// `224.0.0.0/4` (RFC 1112) or `ff00::/8` (RFC 4291).
    Multicast,
    /// `240.0.0.0/4` without the broadcast address (RFC 1112), or IPv6 space outside `2000::/3` that no RFC assigns
    /// (RFC 4291 2.4), such as Iran's `d0::/16` (wire-facts 3.2).
    Reserved,
    /// `255.255.255.255` (RFC 919).
    Broadcast,
    /// `192.88.99.0/24`, deprecated 6to4 relays (RFC 7526), or `fec0::/10`, deprecated site-local (RFC 3879).
    Deprecated,
    /// `fc00::/7`, unique local (RFC 4193).
    UniqueLocal,
    /// `2001::/32`, Teredo (RFC 4380); every IPv6 address the Great Firewall forged in 2021 (wire-facts 3.1).
    Teredo,
    /// `2001:10::/28` and `2001:20::/28`, ORCHID (RFC 4843, RFC 7343): identifiers, not addresses.
    Orchid,
    /// `100::/64`, discard-only (RFC 6666).
    Discard,
    /// `::ffff:0:0/96`, an IPv4 address mapped into IPv6 (RFC 4291 2.5.5.2), never seen on the wire.
    MappedV4,
    /// `64:ff9b::/96`, NAT64's well-known prefix (RFC 6052), or `64:ff9b:1::/48`, its local one (RFC 8215): what DNS64
    /// honestly answers.
    Nat64,
    /// `2002::/16`, 6to4 (RFC 3056).
    SixToFour,
}

impl AddressClass {
    /// The class of `address`.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    /// The class of an IPv4 address.
    #[must_use]
    pub const fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [0, 0, 0, 0] => Self::Unspecified,
            [0, ..] => Self::ThisNetwork,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Self::Private,
            [100, 64..=127, ..] => Self::Shared,
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocal,
            [192, 0, 0, _] => Self::ProtocolAssignment,
            [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Self::Documentation,
            [192, 88, 99, _] => Self::Deprecated,
            [198, 18 | 19, ..] => Self::Benchmarking,
            [224..=239, ..] => Self::Multicast,
            [255, 255, 255, 255] => Self::Broadcast,
            [240..=255, ..] => Self::Reserved,
            _ => Self::Public,
        }
    }

    /// The class of an IPv6 address.
    #[must_use]
    pub const fn of_v6(address: Ipv6Addr) -> Self {
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => Self::Unspecified,
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            [0, 0, 0, 0, 0, 0xffff, ..] => Self::MappedV4,
            [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => Self::Nat64,
            [0x100, 0, 0, 0, ..] => Self::Discard,
            [0x2001, 0, ..] => Self::Teredo,
            [0x2001, 2, 0, ..] => Self::Benchmarking,
            [0x2001, 0x10..=0x2f, ..] => Self::Orchid,
            [0x2001, 0x3..=0x1ff, ..] | [0x2001, 1 | 2, ..] => Self::ProtocolAssignment,
            [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Self::Documentation,
            [0x2002, ..] => Self::SixToFour,
            [0xfc00..=0xfdff, ..] => Self::UniqueLocal,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            [0xfec0..=0xfeff, ..] => Self::Deprecated,
            [0xff00..=0xffff, ..] => Self::Multicast,
            [0x2000..=0x3fff, ..] => Self::Public,
            _ => Self::Reserved,
        }
    }

    /// Whether an address of this class is no honest answer for a public name.
    ///
    /// NAT64, 6to4 and mapped addresses speak for the IPv4 address inside: judge [`embedded_v4`] instead.
    #[must_use]
    pub const fn is_bogon(self) -> bool {
        match self {
            Self::Public | Self::Nat64 | Self::SixToFour | Self::MappedV4 => false,
            Self::Unspecified
            | Self::ThisNetwork
            | Self::Loopback
            | Self::Private
            | Self::Shared
            | Self::LinkLocal
            | Self::ProtocolAssignment
            | Self::Documentation
            | Self::Benchmarking
            | Self::Multicast
            | Self::Reserved
            | Self::Broadcast
            | Self::Deprecated
            | Self::UniqueLocal
            | Self::Teredo
            | Self::Orchid
            | Self::Discard => true,
        }
    }

    /// A word for the class, as it stands in findings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Unspecified => "unspecified",
            Self::ThisNetwork => "this_network",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::LinkLocal => "link_local",
            Self::ProtocolAssignment => "protocol_assignment",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
            Self::Broadcast => "broadcast",
            Self::Deprecated => "deprecated",
            Self::UniqueLocal => "unique_local",
            Self::Teredo => "teredo",
            Self::Orchid => "orchid",
            Self::Discard => "discard",
            Self::MappedV4 => "mapped_v4",
            Self::Nat64 => "nat64",
            Self::SixToFour => "6to4",
        }
    }
}

/// The IPv4 address that a NAT64 (well-known prefix, RFC 6052 2.2), 6to4 or mapped address carries.
///
/// `None` for every other address, also for NAT64's local prefix, whose layout the operator chooses.
#[must_use]
pub fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match AddressClass::of_v6(address) {
        AddressClass::Nat64 if s[2] == 0 => Some(join(s[6], s[7])),
        AddressClass::MappedV4 => Some(join(s[6], s[7])),
        AddressClass::SixToFour => Some(join(s[1], s[2])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(address: &str) -> AddressClass {
        AddressClass::of(address.parse().unwrap())
    }

    #[test]
    fn ipv4_ranges_end_where_the_registry_says() {
        use AddressClass::*;
        for (address, expected) in [
            ("0.0.0.0", Unspecified),
            ("0.0.0.1", ThisNetwork),
            ("1.0.0.0", Public),
            ("9.255.255.255", Public),
            ("10.10.34.34", Private),
            ("11.0.0.0", Public),
            ("100.63.255.255", Public),
            ("100.64.0.0", Shared),
            ("100.127.255.255", Shared),
            ("100.128.0.0", Public),
            ("127.0.0.1", Loopback),
            ("169.254.1.1", LinkLocal),
            ("172.15.255.255", Public),
            ("172.16.0.0", Private),
            ("172.31.255.255", Private),
            ("172.32.0.0", Public),
            ("192.0.0.8", ProtocolAssignment),
            ("192.0.1.0", Public),
            ("192.0.2.1", Documentation),
            ("192.88.99.1", Deprecated),
            ("192.168.0.1", Private),
            ("192.169.0.0", Public),
            ("198.17.255.255", Public),
            ("198.19.255.255", Benchmarking),
            ("198.51.100.4", Documentation),
            ("203.0.113.4", Documentation),
            ("224.0.0.1", Multicast),
            ("239.255.255.255", Multicast),
            ("243.185.187.39", Reserved),
            ("255.255.255.255", Broadcast),
        ] {
            assert_eq!(class(address), expected, "{address}");
        }
    }

    #[test]
    fn ipv6_ranges_end_where_the_registry_says() {
        use AddressClass::*;
        for (address, expected) in [
            ("::", Unspecified),
            ("::1", Loopback),
            ("::2", Reserved),
            ("d0::11", Reserved),
            ("::ffff:1.2.3.4", MappedV4),
            ("64:ff9b::1.2.3.4", Nat64),
            ("64:ff9b:1::1", Nat64),
            ("64:ff9b:2::1", Reserved),
            ("100::5", Discard),
            ("2000::1", Public),
            ("2001::1", Teredo),
            ("2001:0:1::", Teredo),
            ("2001:1::1", ProtocolAssignment),
            ("2001:2::1", Benchmarking),
            ("2001:2:1::1", ProtocolAssignment),
            ("2001:10::1", Orchid),
            ("2001:2f::1", Orchid),
            ("2001:30::1", ProtocolAssignment),
            ("2001:1ff::1", ProtocolAssignment),
            ("2001:200::1", Public),
            ("2001:db8::1", Documentation),
            ("2001:db9::1", Public),
            ("2002:102:304::1", SixToFour),
            ("2a03:2880:f1ff::1", Public),
            ("3fff::1", Documentation),
            ("3fff:1000::1", Public),
            ("4000::1", Reserved),
            ("fd00::1", UniqueLocal),
            ("fe80::1", LinkLocal),
            ("fec0::1", Deprecated),
            ("ff02::1", Multicast),
        ] {
            assert_eq!(class(address), expected, "{address}");
        }
    }

    #[test]
    fn an_embedded_address_is_taken_out() {
        let of = |address: &str| embedded_v4(address.parse().unwrap());
        assert_eq!(of("64:ff9b::10.10.34.34"), Some(Ipv4Addr::new(10, 10, 34, 34)));
        assert_eq!(of("2002:0a0a:2222::1"), Some(Ipv4Addr::new(10, 10, 34, 34)));
        assert_eq!(of("::ffff:10.10.34.34"), Some(Ipv4Addr::new(10, 10, 34, 34)));
        assert_eq!(of("64:ff9b:1::a0a:2222"), None);
        assert_eq!(of("2a00::a0a:2222"), None);
    }

    #[test]
    fn only_addresses_no_public_name_can_have_are_bogons() {
        assert!(class("10.0.0.1").is_bogon());
        assert!(class("2001::1").is_bogon());
        assert!(!class("8.8.8.8").is_bogon());
        assert!(!class("64:ff9b::8.8.8.8").is_bogon());
    }
}
