//! Which findings are the work of one box, by its habits.
//!
//! Findings that agree in how they were done (a reset, data, a DNS answer …), in whether the TTL tells a distance, in
//! the don't-fragment bit and in the shape of bursts are laid together; within them a field that is another one in most
//! findings is drawn at random or counts up, and tells nothing; the others tell boxes apart. The name is a digest of
//! what is left, without addresses, names and times, so that the same box is called the same in another capture from
//! the same tap. A box whose device is known by exact marks is named by the device and its distance, whatever it sends.
//!
//! It counts habits: a box that resets in one way and answers DNS in another, and is no known device, has two names.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::evidence::{Observation, StreamObservation};
use crate::finding::finding::{Finding, Injector, Kind};
use crate::finding::habits::{Burst, InjectorId, Varying};

/// What a box does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Reset,
    Data,
    SynAck,
    Dns,
}

/// What a box's TTL says of its distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    Untold,
    Mirrored,
    Told,
}

/// How a box numbers its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Numbering {
    /// No id is seen, or no rule.
    Own,
    Zero,
    /// As the packet it answers, and so many more.
    Copied(u16),
    Constant(u16),
}

/// What must agree.
type Manner = (Deed, Distance, Option<bool>, Option<Burst>);

/// What is compared within one manner.
#[derive(Clone, Copy, Debug)]
struct Traits {
    hops: Option<(u8, u8)>,
    initial_ttl: Option<u8>,
    ip_id: Option<u16>,
    ip_id_stays: bool,
    copied: Option<u16>,
    window: Option<Varying<u16>>,
    record_ttl: Option<Varying<u32>>,
}

/// Gives every box that forged something a name, and the same name wherever its habits show.
pub(super) fn identify(findings: &mut [Finding]) {
    let mut manners: BTreeMap<Manner, Vec<usize>> = BTreeMap::new();
    let mut hashes: BTreeMap<usize, u64> = BTreeMap::new();
    for (at, finding) in findings.iter_mut().enumerate() {
        if let Some(injector) = &mut finding.injector {
            injector.id = None;
        }
        let (Some(injector), Some(deed)) = (&finding.injector, deed(finding.kind)) else {
            continue;
        };
        if finding.forged.is_empty() || finding.verdict().is_none() {
            continue;
        }
        if let Some(device) = injector.device {
            hashes.insert(at, digest(&(device.name, injector.hops_from_tap, injector.mirrors_ttl)));
            continue;
        }
        let manner = (
            deed,
            distance(injector),
            injector.habits.dont_fragment,
            injector.habits.burst,
        );
        manners.entry(manner).or_default().push(at);
    }
    for (manner, members) in &manners {
        let traits: Vec<Traits> = members.iter().map(|at| traits(&findings[*at])).collect();
        let windows_vary = is_drawn(traits.iter().map(|one| one.window));
        let record_ttls_vary = is_drawn(traits.iter().map(|one| one.record_ttl));
        let distances_vary = is_drawn(traits.iter().map(|one| one.hops));
        let mut ids: BTreeMap<Option<u16>, u32> = BTreeMap::new();
        for one in &traits {
            *ids.entry(one.ip_id).or_default() += 1;
        }
        for (at, one) in members.iter().zip(&traits) {
            let twice = ids.get(&one.ip_id).is_some_and(|packets| *packets > 1);
            let numbering = match (one.ip_id, one.copied) {
                (_, Some(offset)) => Numbering::Copied(offset),
                (Some(0), _) => Numbering::Zero,
                (Some(id), _) if twice || one.ip_id_stays => Numbering::Constant(id),
                _ => Numbering::Own,
            };
            let told = (!distances_vary).then_some((one.hops, one.initial_ttl));
            let window = if windows_vary {
                Some(Varying::Varies)
            } else {
                one.window
            };
            let record_ttl = if record_ttls_vary {
                Some(Varying::Varies)
            } else {
                one.record_ttl
            };
            hashes.insert(*at, digest(&(manner, told, numbering, window, record_ttl)));
        }
    }
    let names: BTreeSet<u64> = hashes.values().copied().collect();
    let short: BTreeSet<u64> = names.iter().map(|hash| hash >> 48).collect();
    for (at, hash) in hashes {
        let id = InjectorId::short((hash >> 32) as u32);
        if let Some(injector) = &mut findings[at].injector {
            injector.id = Some(if short.len() == names.len() {
                id
            } else {
                id.lengthened()
            });
        }
    }
}

/// What was done, if it was done by putting packets into a flow.
const fn deed(kind: Kind) -> Option<Deed> {
    match kind {
        Kind::RstInjection => Some(Deed::Reset),
        Kind::BlockPage | Kind::PayloadInjection | Kind::FinInjection | Kind::TlsAlertInjection => Some(Deed::Data),
        Kind::SynAckInjection => Some(Deed::SynAck),
        Kind::DnsInjection => Some(Deed::Dns),
        Kind::SilentDrop
        | Kind::TlsInterception
        | Kind::IpBlackhole
        | Kind::ResidualBlock
        | Kind::QuicDrop
        | Kind::DnsBlockAnswer
        | Kind::IcmpProhibited
        | Kind::Throttling
        | Kind::VolumeFreeze
        | Kind::CaptivePortal
        | Kind::Shutdown => None,
    }
}

const fn distance(injector: &Injector) -> Distance {
    if injector.mirrors_ttl {
        Distance::Mirrored
    } else if injector.hops_from_tap.is_some() {
        Distance::Told
    } else {
        Distance::Untold
    }
}

fn traits(finding: &Finding) -> Traits {
    let injector = finding.injector.clone().unwrap_or_default();
    let copied = finding.evidence.iter().find_map(|item| match item.observation {
        Observation::IpIdCopiedFromTrigger { offset, .. } => Some(offset),
        Observation::Stream(StreamObservation::SynAckReflects { .. }) => Some(0),
        _ => None,
    });
    Traits {
        hops: injector.hops_from_tap,
        initial_ttl: injector.initial_ttl,
        ip_id: injector.habits.ip_id,
        ip_id_stays: injector.habits.ip_id_stays,
        copied,
        window: injector.habits.window,
        record_ttl: injector.habits.record_ttl,
    }
}

/// Whether a field is another one in most findings: three values at least, and more values than every second finding.
fn is_drawn<T: Ord>(values: impl Iterator<Item = T>) -> bool {
    let values: Vec<T> = values.collect();
    let count = values.len();
    let distinct = values.into_iter().collect::<BTreeSet<T>>().len();
    distinct >= 3 && distinct * 2 > count
}

/// FNV-1a of what a value is written as, stirred so that the first digits depend on all of it.
fn digest(habits: &impl std::fmt::Debug) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for octet in format!("{habits:?}").bytes() {
        hash = (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3);
    }
    // The last steps of SplitMix64.
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::finding::Device;
    use crate::report::sample;

    fn reset(hops: u8, window: u16, ip_id: u16) -> Finding {
        let mut finding = sample::reset();
        let injector = finding.injector.as_mut().unwrap();
        injector.hops_from_tap = Some((hops, hops));
        injector.habits.window = Some(Varying::Stays(window));
        injector.habits.ip_id = Some(ip_id);
        finding
    }

    fn names(mut findings: Vec<Finding>) -> Vec<String> {
        identify(&mut findings);
        findings
            .iter()
            .map(|finding| {
                finding
                    .injector
                    .as_ref()
                    .unwrap()
                    .id
                    .map_or(String::new(), |id| id.to_string())
            })
            .collect()
    }

    #[test]
    fn the_same_habits_give_the_same_name_whoever_is_blocked() {
        let mut other = reset(3, 0, 77);
        other.conversation.client.port += 1;
        other.trigger = None;
        let found = names(vec![reset(3, 0, 12), other, reset(5, 0, 13)]);
        assert_eq!(found[0], found[1]);
        assert_ne!(found[0], found[2], "another distance is another box");
        // The name does not depend on what else is in the capture.
        assert_eq!(names(vec![reset(3, 0, 4)])[0], found[0]);
    }

    #[test]
    fn a_field_drawn_at_random_tells_nothing() {
        let found = names((1..=6).map(|draw| reset(3, draw * 1000, draw)).collect());
        assert!(found.iter().all(|name| *name == found[0]), "{found:?}");
        // Two windows used again and again are two boxes.
        let found = names((0..6).map(|draw| reset(3, (draw % 2) * 1000, draw + 1)).collect());
        assert_ne!(found[0], found[1]);
        assert_eq!(found[0], found[2]);
    }

    #[test]
    fn an_ip_id_used_again_is_a_habit() {
        let found = names(vec![reset(3, 0, 242), reset(3, 0, 242), reset(3, 0, 9), reset(3, 0, 0)]);
        assert_eq!(found[0], found[1]);
        assert_ne!(found[0], found[2]);
        assert_ne!(found[2], found[3], "always 0 is a law of its own");
    }

    #[test]
    fn a_known_device_is_one_box_whatever_it_sends() {
        let device = Some(Device {
            name: "a device",
            source: "a paper",
        });
        let (mut one, mut two) = (sample::reset(), sample::dns());
        for finding in [&mut one, &mut two] {
            let injector = finding.injector.as_mut().unwrap();
            (injector.device, injector.hops_from_tap, injector.mirrors_ttl) = (device, Some((2, 2)), false);
        }
        let found = names(vec![one, two]);
        assert_eq!(found[0], found[1]);
    }

    #[test]
    fn who_only_drops_has_no_name() {
        let mut drop = sample::reset();
        drop.kind = Kind::SilentDrop;
        let mut nothing_forged = sample::reset();
        nothing_forged.forged.clear();
        assert_eq!(names(vec![drop, nothing_forged]), ["", ""]);
    }
}
