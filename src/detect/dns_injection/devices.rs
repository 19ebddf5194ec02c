//! Forgers of DNS answers that are known by the marks of their packets.

use super::exchange::{Answer, AskedBy};
use crate::detect::packs::row::Row;
use crate::finding::evidence::Observation;
use crate::finding::finding::Device;
use crate::payload::dns_message::Shape;

const TURKMENISTAN: Device = Device {
    name: "Turkmenistan's national filter",
    source: "Nourin et al., WWW 2023, artifact (IP id 30000, initial TTL 128, no DF, A 127.0.0.1)",
};
const GREAT_FIREWALL_1: Device = Device {
    name: "Great Firewall, DNS injector 1",
    source: "Anonymous et al., FOCI 2020, table 3 (no DF, AA, record TTL 60)",
};
const GREAT_FIREWALL_3: Device = Device {
    name: "Great Firewall, DNS injector 3",
    source: "Anonymous et al., FOCI 2020, table 3 (no DF, IP id 0)",
};
const HAND_MADE: Device = Device {
    name: "a program that builds its packets by hand",
    source: "defaults of packet libraries: IP id 1, initial TTL 64, no DF",
};

/// The address Turkmenistan's filter answers with.
const LOOPBACK: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// The device whose marks `answer` bears, if any. An id that fits the server's own counter is no mark.
pub(super) fn known_device(asked: Option<&AskedBy>, answer: &Answer) -> Option<Observation> {
    let marks = &answer.marks;
    let id = marks.ip_id?;
    if marks.dont_fragment || answer.fits_counter == Some(true) {
        return None;
    }
    let bare = answer.shape == Shape::BareAnswer && !answer.edns && !answer.addresses.is_empty();
    if id == 30_000 && marks.initial_ttl() == 128 {
        return Some(if answer.addresses.first() == Some(&LOOPBACK) {
            Observation::KnownDevice(TURKMENISTAN)
        } else {
            Observation::ProbableDevice(TURKMENISTAN)
        });
    }
    // Where the query is made by hand as well, nothing but that is shown.
    let other_hand = asked.is_some_and(|asked| asked.marks.ip_id.is_some_and(|asked| asked != 1));
    if id == 1 && marks.initial_ttl() == 64 && other_hand {
        return Some(Observation::ProbableDevice(HAND_MADE));
    }
    // A resolver asked to recurse does not claim authority over others' names; an authoritative server may.
    let recursing = asked.is_some_and(|asked| asked.recursion_desired);
    if bare && recursing && answer.is_authoritative() && answer.recursion_available() && answer.record_ttl == 60 {
        return Some(Observation::ProbableDevice(GREAT_FIREWALL_1));
    }
    // Linux numbers packets 0 only together with DF.
    if bare && id == 0 && !answer.is_authoritative() {
        return Some(Observation::ProbableDevice(GREAT_FIREWALL_3));
    }
    None
}

/// What a box does with the TTL of its packets, which decides whether its distance can be read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TtlHabit {
    /// It starts at a usual value, for all we know.
    Own,
    /// It copies that of the query.
    Mirrors,
    /// It is random, or counts up.
    Varies,
}

/// How the box that gave `answer`, matched by `row` of the pack, sets its TTL: of Iran's three injectors the one that
/// answers .35 mirrors (IRBlock 2025), of the Great Firewall's three none tells its distance (FOCI 2020, table 3).
pub(super) fn ttl_habit(row: Option<&Row>, answer: &Answer) -> TtlHabit {
    const MIRRORING: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 10, 34, 35));
    if answer.addresses.contains(&MIRRORING) {
        TtlHabit::Mirrors
    } else if row.is_some_and(|row| row.countries.iter().any(|country| country == "CN")) {
        TtlHabit::Varies
    } else {
        TtlHabit::Own
    }
}
