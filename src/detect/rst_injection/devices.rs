//! Boxes that are known by the constants in their resets (wire-facts 2.2, 3.1, 3.5, 3.7).

use std::time::Duration;

use super::case::{Case, Reset};
use crate::finding::evidence::Observation;
use crate::finding::finding::Device;
use crate::packet::packet::{SequenceNumber, TcpFlags};

/// What a box does with the TTL of its resets, which decides whether its distance can be read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TtlHabit {
    /// It starts at a usual value.
    Own,
    /// It copies that of the packet it answers.
    Mirrors,
    /// It is random, or counts up.
    Varies,
}

/// What the shape of a case's resets says about the box.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recognised {
    pub(super) observation: Observation,
    pub(super) ttl: TtlHabit,
}

/// The device a case's resets are typical of, best first.
pub(super) fn recognise(case: &Case) -> Option<Recognised> {
    exact(case)
        .map(|(device, ttl)| Recognised {
            observation: Observation::KnownDevice(device),
            ttl,
        })
        .or_else(|| {
            let observation = Observation::ProbableDevice(typical(case)?);
            Some(Recognised {
                observation,
                ttl: TtlHabit::Own,
            })
        })
}

/// Constants that nothing else is known to produce.
fn exact(case: &Case) -> Option<(Device, TtlHabit)> {
    let first = &case.resets[0];
    let marks = first.note.marks;
    let burst: Vec<&Reset> = case.burst().collect();
    let with_ack = burst.iter().filter(|reset| reset.note.flags.ack()).count();

    if first.payload_len == 10 && first.payload == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] && first.note.flags.ack() {
        return Some((
            Device {
                name: "Henan firewall",
                source: "Wu et al., IEEE S&P 2025; Xray issue 2426",
            },
            TtlHabit::Own,
        ));
    }
    if marks.ip_id == Some(30_000)
        && (65..=128).contains(&marks.ttl)
        && !marks.dont_fragment
        && first.note.window == 0
        && !first.note.flags.ack()
    {
        return Some((
            Device {
                name: "Turkmenistan's national filter",
                source: "Nourin et al., WWW 2023, artifact",
            },
            TtlHabit::Own,
        ));
    }
    if first.note.flags.0 & (TcpFlags::RESERVED | TcpFlags::NS) == TcpFlags::RESERVED | TcpFlags::NS {
        return Some((
            Device {
                name: "injector with all reserved TCP bits set",
                source: "a CenTrace capture and Zeek's rst-inject-rae trace",
            },
            TtlHabit::Own,
        ));
    }
    if !first.note.flags.ack()
        && first.note.ack.0 != 0
        && !marks.dont_fragment
        && first.note.window != 0
        && triggers(case).any(|(seq, window)| (first.note.ack, first.note.window) == (seq, window))
    {
        return Some((
            Device {
                name: "injector that reflects the trigger's header",
                source: "67 of 67 resets of one path in the CenTrace captures",
            },
            TtlHabit::Mirrors,
        ));
    }
    if pairs(&burst).any(|(one, two)| two.note.seq.ahead_of(one.note.seq) == 12_503) {
        return Some((
            Device {
                name: "Sandvine",
                source: "Weaver et al., NDSS 2009, table 1",
            },
            TtlHabit::Own,
        ));
    }
    let steps = |by| burst.iter().any(|reset| reset.note.seq.ahead_of(first.note.seq) == by);
    if steps(1460) && steps(4380) {
        return Some((
            Device {
                name: "GFW (resets at +0, +1460, +4380)",
                source: "Clayton et al. 2006; Weaver et al., NDSS 2009",
            },
            TtlHabit::Varies,
        ));
    }
    if with_ack >= 2 && with_ack == burst.len() && window_minus_ttl_is_constant(&burst) {
        return Some((
            Device {
                name: "GFW type 2 (TTL and window in lock-step)",
                source: "Wang et al., IMC 2017; net4people bbs 285",
            },
            TtlHabit::Varies,
        ));
    }
    if with_ack >= 3 && with_ack == burst.len() && burst.windows(2).all(|pair| is_triplet(pair[0], pair[1])) {
        return Some((
            Device {
                name: "GFW type 2 (identical resets)",
                source: "CenTrace captures; net4people bbs 285",
            },
            TtlHabit::Varies,
        ));
    }
    let plain_ecn = !case.before.ecn;
    if first.note.flags.any(TcpFlags::NS) && first.note.flags.ack() && plain_ecn {
        return Some((
            Device {
                name: "GFW (RST, ACK and ECN nonce bit)",
                source: "Weaver et al., NDSS 2009, section 7.1.6",
            },
            TtlHabit::Own,
        ));
    }
    None
}

/// Sequence number and window of what the resets may answer: the request, and the peer's last packet.
fn triggers(case: &Case) -> impl Iterator<Item = (SequenceNumber, u16)> {
    let asked = case.asked.as_ref().map(|asked| (asked.seq, asked.window));
    let last = case.before.peer_last.map(|note| (note.seq, note.window));
    asked.into_iter().chain(last)
}

/// Marks that are typical, but that ordinary stacks can produce too.
fn typical(case: &Case) -> Option<Device> {
    let first = &case.resets[0];
    match first.note.marks.ip_id {
        Some(64) if !first.note.flags.ack() => Some(Device {
            name: "GFW (IP id 64)",
            source: "Weaver et al., NDSS 2009",
        }),
        Some(16_448) => Some(Device {
            name: "Bezeqint's injector (IP id 16448)",
            source: "Weaver et al., NDSS 2009",
        }),
        Some(1) => Some(Device {
            name: "packet-crafting tool or simple DPI (IP id 1)",
            source: "GoodbyeDPI filters IP ids 0x0 to 0xF; fox-it's quantum insert captures",
        }),
        _ if case
            .burst()
            .any(|reset| reset.note.seq.ahead_of(first.note.seq) == 1460) =>
        {
            Some(Device {
                name: "GFW (reset at +1460)",
                source: "Weaver et al., NDSS 2009",
            })
        }
        _ => None,
    }
}

fn pairs<'a>(burst: &'a [&'a Reset]) -> impl Iterator<Item = (&'a Reset, &'a Reset)> {
    burst.windows(2).map(|pair| (pair[0], pair[1]))
}

/// TTL and window differ within the burst, and their difference does not.
fn window_minus_ttl_is_constant(burst: &[&Reset]) -> bool {
    let difference = |reset: &Reset| i32::from(reset.note.window) - i32::from(reset.note.marks.ttl);
    burst
        .iter()
        .all(|reset| reset.note.window != 0 && difference(reset) == difference(burst[0]))
        && burst
            .iter()
            .any(|reset| reset.note.marks.ttl != burst[0].note.marks.ttl)
}

/// One of several identical packets: the same IP id, which no stack gives to two packets it sends at once.
fn is_triplet(one: &Reset, two: &Reset) -> bool {
    one.note.seq == two.note.seq
        && one.note.ack == two.note.ack
        && one.note.window == two.note.window
        && one.note.window != 0
        && one.note.marks.ttl == two.note.marks.ttl
        && one.note.marks.ip_id == two.note.marks.ip_id
        && one.note.marks.ip_id.is_some_and(|id| id != 0)
        && two.note.at.since(one.note.at) <= Duration::from_millis(5)
}
