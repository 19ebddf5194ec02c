//! Whether a packet that is no reset looks like its sender's other packets: the header tests of wire-facts 6.3.

use arrayvec::ArrayVec;

use crate::finding::evidence::{Evidence, Observation};
use crate::flow::asked::Asked;
use crate::flow::path_profile::IpIdLaw;
use crate::flow::side::{Note, Side};

/// What `suspect` has that its sender's other packets have not. `apart` are packets suspected with it.
///
/// `side` is the sender's side at the end of the flow, so that a forgery that came first is compared with what followed.
#[must_use]
pub fn odd_marks(suspect: &Note, apart: &[Note], side: &Side, asked: Option<&Asked>) -> Vec<Evidence> {
    let mut found = Vec::new();
    let mut add = |observation| found.push(Evidence::at(observation, &[suspect.frame]));
    let profile = &side.profile;
    let mut ttls: ArrayVec<u8, 16> = [suspect.marks.ttl].into_iter().collect();
    for other in apart.iter().filter(|other| other.frame != suspect.frame) {
        let _ = ttls.try_push(other.marks.ttl);
    }
    if let Some(usual) = profile.usual_ttl_without(&ttls)
        && usual.abs_diff(suspect.marks.ttl) >= 2
        // A TTL its sender had shown before is no stranger: balancers answer over two paths.
        && profile.first_with(suspect.marks.ttl) == Some(suspect.frame)
        // More packets like this one than like the others: a proxy may have shaken hands for the server.
        && profile.count_of(suspect.marks.ttl) <= profile.count_of(usual).max(ttls.len() as u16)
    {
        add(Observation::TtlDiffers {
            packet: suspect.marks.ttl,
            usual,
        });
    }
    let others = profile.packets().saturating_sub(ttls.len() as u32);
    // Forgeries may be many: then the opening packet says which of the two bits is the sender's.
    let unlike_opening = profile
        .opening()
        .is_some_and(|opening| opening.dont_fragment != suspect.marks.dont_fragment)
        && profile.many_with(!suspect.marks.dont_fragment);
    if others >= 2 && (profile.only_exception(suspect.marks.dont_fragment, ttls.len()) || unlike_opening) {
        add(Observation::DontFragmentDiffers);
    }
    let unstamped_others = profile
        .packets()
        .saturating_sub(side.stamped)
        .saturating_sub(ttls.len() as u32);
    // A server that put one into its SYN-ACK puts one into every segment (RFC 7323 section 3.2), however many forgeries
    // without one there are; a client's offer may have been declined.
    let agreed = side.timestamps && side.opening.is_some_and(|opening| opening.flags.ack());
    if !suspect.stamped && (agreed || (side.stamped >= 2 && unstamped_others == 0)) {
        add(Observation::TimestampMissing);
    }
    if let Some(id) = suspect.marks.ip_id.filter(|id| *id != 0) {
        let counts = profile.ip_id_law() == IpIdLaw::Counter;
        // A sender whose packets all carry one id copies nobody.
        let constant = side
            .notes()
            .any(|note| note.frame != suspect.frame && note.marks.ip_id == Some(id))
            && !apart.iter().any(|other| other.marks.ip_id == Some(id));
        let copied = asked
            .and_then(|asked| asked.marks.ip_id)
            .filter(|trigger| *trigger != 0 && *trigger == id);
        if copied.is_some() && !constant && profile.continues_counter(id) != Some(true) {
            add(Observation::IpIdCopiedFromTrigger { ip_id: id, offset: 0 });
        }
        // The neighbours in time are the ones to compare with.
        let neighbour = side
            .notes()
            .filter(|note| note.frame != suspect.frame && !apart.iter().any(|other| other.frame == note.frame))
            .filter_map(|note| note.marks.ip_id.filter(|id| *id != 0))
            .last();
        if let (true, Some(last)) = (counts, neighbour)
            && id.wrapping_sub(last).min(last.wrapping_sub(id)) > FAR
        {
            add(Observation::IpIdOutOfSequence { packet: id, last });
        }
    }
    let windows = || {
        side.notes()
            .filter(|note| !note.flags.syn() && note.frame != suspect.frame)
            .filter(|note| !apart.iter().any(|other| other.frame == note.frame))
            .map(|note| note.window)
    };
    if let Some(last) = windows().next()
        && windows().all(|window| is_far_window(window, suspect.window))
    {
        add(Observation::WindowDiffers {
            packet: suspect.window,
            last,
        });
    }
    if suspect.marks.link_source != 0
        && others >= 2
        && side
            .notes()
            .filter(|note| note.frame != suspect.frame && !apart.iter().any(|other| other.frame == note.frame))
            .all(|note| note.marks.link_source != 0 && note.marks.link_source != suspect.marks.link_source)
    {
        add(Observation::LinkSourceDiffers);
    }
    found
}

/// The heaviest of the header evidence in nats: how odd a packet is.
#[must_use]
pub fn oddness(evidence: &[Evidence]) -> f64 {
    evidence.iter().map(Evidence::llr).fold(0.0, f64::max)
}

/// Whether a packet came from elsewhere, by its TTL.
#[must_use]
pub fn has_odd_ttl(evidence: &[Evidence]) -> bool {
    let is_odd_ttl = |item: &Evidence| matches!(item.observation, Observation::TtlDiffers { .. });
    evidence.iter().any(is_odd_ttl)
}

/// A step between neighbours of one counter is rarely larger; a random id is within it in 12 % of cases.
const FAR: u16 = 4000;

/// Windows of one sender move by what its buffer takes in; a factor of four within a flow's first packets is another
/// stack's.
fn is_far_window(one: u16, two: u16) -> bool {
    let (low, high) = (u32::from(one.min(two)), u32::from(one.max(two)));
    high > low * 4 && high - low > 1024
}
