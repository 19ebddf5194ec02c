//! Gives every address of a story another of its own class, so that nothing can depend on the addresses a fixture
//! happens to use: public stays public, private private, an IPv6 prefix of one kind stays of that kind, and neighbours
//! in one /24 or /16 (or /64) stay neighbours, and strangers strangers. Addresses the equipment is known by, and hosts that say
//! `renumbering = "stays"`, keep theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::story::{RenumberingStory, Story};

/// A mapping of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renumbering {
    table: BTreeMap<IpAddr, IpAddr>,
}

impl Renumbering {
    /// The mapping of a story: of its hosts and of every address its records give.
    #[must_use]
    pub fn of_story(story: &Story) -> Self {
        let staying: BTreeSet<IpAddr> = story
            .host
            .iter()
            .filter(|host| host.renumbering == RenumberingStory::Stays)
            .flat_map(|host| host.addresses.get_ref().iter().copied())
            .collect();
        let own_records = story
            .host
            .iter()
            .filter_map(|host| host.dns.as_ref())
            .flat_map(|dns| &dns.record);
        let recorded = story.record.iter().chain(own_records).flat_map(|record| {
            let v4 = record.a.iter().copied().map(IpAddr::from);
            v4.chain(record.aaaa.iter().copied().map(IpAddr::from))
        });
        let addresses: BTreeSet<IpAddr> = story
            .host
            .iter()
            .flat_map(|host| host.addresses.get_ref().iter().copied())
            .chain(recorded)
            .filter(|address| !staying.contains(address))
            .collect();
        let mut networks: BTreeMap<Vec<u8>, u16> = BTreeMap::new();
        let mut wide_networks: BTreeMap<[u8; 2], u8> = BTreeMap::new();
        let mut table = BTreeMap::new();
        for address in addresses {
            let network = match address {
                IpAddr::V4(address) => address.octets()[..3].to_vec(),
                IpAddr::V6(address) => address.octets()[..8].to_vec(),
            };
            let count = networks.len() as u16;
            let index = *networks.entry(network).or_insert(count);
            let wide = match address {
                IpAddr::V4(address) => {
                    let [first, second, ..] = address.octets();
                    let count = wide_networks.len() as u8;
                    *wide_networks.entry([first, second]).or_insert(count)
                }
                IpAddr::V6(_) => 0,
            };
            table.insert(address, moved(address, index, wide));
        }
        Self { table }
    }

    /// Where an address has moved to: itself if it is none of the story's.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> IpAddr {
        self.table.get(&address).copied().unwrap_or(address)
    }
}

/// An address of the same class in the `index`-th new network, which lies in the `wide`-th one of 16 bits.
fn moved(address: IpAddr, index: u16, wide: u8) -> IpAddr {
    let low = (index & 0xFF) as u8;
    match address {
        IpAddr::V4(address) => {
            let [first, second, third, last] = address.octets();
            let octets = match (first, second) {
                (10, _) => [10, 177, low, last],
                (172, 16..=31) => [172, 27, low, last],
                (192, 168) => [192, 168, 150u8.wrapping_add(low), last],
                (100, 64..=127) => [100, 99, low, last],
                (127, _) | (0, _) | (169, 254) | (224..=255, _) => [first, second, third, last],
                // Somewhere ordinary and public that no story uses.
                _ => [146, 70u8.wrapping_add(wide), 10u8.wrapping_add(low), last],
            };
            Ipv4Addr::from(octets).into()
        }
        IpAddr::V6(address) => {
            let mut segments = address.segments();
            match segments[0] {
                // Unique local: another global id.
                0xFC00..=0xFDFF => segments[1] = 0x5EED,
                // Documentation: another subnet.
                0x2001 if segments[1] == 0x0DB8 => segments[2] = 0x7000 + index,
                0x2000..=0x3FFF => {
                    segments[0] = 0x2A0D;
                    segments[1] = 0x5600;
                    segments[2] = index;
                }
                _ => {}
            }
            Ipv6Addr::from(segments).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_moves_within_its_class() {
        let moved = |text: &str| moved(text.parse().unwrap(), 3, 1).to_string();
        assert_eq!(moved("10.1.2.3"), "10.177.3.3");
        assert_eq!(moved("192.168.1.7"), "192.168.153.7");
        assert_eq!(moved("45.140.16.9"), "146.71.13.9");
        assert_eq!(moved("127.0.0.1"), "127.0.0.1");
        assert_eq!(moved("2a0b:1::5"), "2a0d:5600:3::5");
        assert!(moved("fd00:1::5").starts_with("fd00:5eed:"));
    }
}
