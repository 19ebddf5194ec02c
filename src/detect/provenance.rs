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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::finding::Party;
    use crate::flow::talk::{A, Sent, Talk, client, opened, server};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    const ASKED: u32 = 1 + REQUEST.len() as u32;

    /// A request under the IP id 900.
    fn asking<'p>() -> Vec<Sent<'p>> {
        opened(&[client(A, 1, 1, REQUEST).id(900)])
    }

    /// What is odd about the packet of number `frame`, those of numbers `apart` suspected with it.
    fn odd_about(packets: &[Sent<'_>], frame: u64, apart: &[u64]) -> Vec<&'static str> {
        let talk = Talk::of(80, packets);
        let sender = match packets[frame as usize - 1].from_client {
            true => Party::Client,
            false => Party::Server,
        };
        let side = talk.flow().side(sender);
        let note = |frame: u64| *side.notes().find(|note| note.frame.in_file() == frame).unwrap();
        let apart: Vec<_> = apart.iter().map(|frame| note(*frame)).collect();
        let asked = talk.flow().asked.as_ref();
        let found = odd_marks(&note(frame), &apart, side, asked);
        assert!(
            found
                .iter()
                .all(|item| item.frames.iter().all(|named| named.in_file() == frame))
        );
        found.iter().map(|item| item.observation.key()).collect()
    }

    /// The same of a packet after the request and an answer, and before another.
    fn odd(suspect: Sent<'_>) -> Vec<&'static str> {
        let mut packets = asking();
        packets.extend([server(A, 1, ASKED, b"answer"), suspect, server(A, 11, ASKED, b"more")]);
        odd_about(&packets, 6, &[])
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn a_packet_like_the_others_is_not_odd() {
        assert_eq!(odd(server(A, 7, ASKED, b"data")), NONE);
    }

    #[test]
    fn a_ttl_is_odd_two_off_if_its_sender_never_showed_it() {
        let data = server(A, 7, ASKED, b"data");
        for (ttl, told) in [(48, true), (49, false), (51, false), (52, true)] {
            assert_eq!(odd(data.ttl(ttl)).contains(&"ttl_differs"), told, "{ttl}");
        }
        let is_odd = |ttls: &[u8], frame: u64, apart: &[u64]| {
            let mut packets = asking();
            packets.extend(ttls.iter().map(|ttl| server(A, 1, ASKED, b"").ttl(*ttl)));
            odd_about(&packets, frame, apart).contains(&"ttl_differs")
        };
        assert!(is_odd(&[50, 44], 6, &[]));
        assert!(!is_odd(&[44, 44, 50, 50], 6, &[]), "it had been shown before");
        assert!(is_odd(&[44, 44, 50], 5, &[]), "as many as the others");
        assert!(!is_odd(&[44, 44, 44, 50], 5, &[]), "more than the others");
        assert!(is_odd(&[44, 44, 44, 50], 5, &[6, 7]), "all of them suspected");
        // Without it nothing is left to compare with.
        assert!(!is_odd(&[50, 44], 6, &[2, 5]));
    }

    #[test]
    fn a_fragmentation_bit_stands_against_two_others() {
        let is_odd = |bits: &[bool], frame: u64| {
            let mut packets = asking();
            for set in bits {
                let sent = server(A, 1, ASKED, b"");
                packets.push(if *set { sent.unfragmented() } else { sent });
            }
            odd_about(&packets, frame, &[]).contains(&"dont_fragment_differs")
        };
        assert!(is_odd(&[false, true], 6));
        assert!(!is_odd(&[true], 5), "the opening alone is no habit");
        assert!(!is_odd(&[false, true], 5));
        // There are many of them; but the opening is of the others.
        assert!(is_odd(&[false, true, true, true], 6));
        assert!(!is_odd(&[true, true, true], 5));
    }

    #[test]
    fn a_timestamp_is_missed_where_it_was_agreed_on() {
        let says = |packets: &[Sent<'_>], frame| odd_about(packets, frame, &[]).contains(&"timestamp_missing");
        let mut packets = asking();
        let bare = server(A, 1, ASKED, b"").unstamped();
        packets.extend([bare, bare, bare]);
        assert!(says(&packets, 5), "the SYN-ACK bore one, however many do not");
        // What a client offers may have been declined.
        let ask = client(A, 1, 1, REQUEST);
        assert!(says(&opened(&[ask.unstamped()]), 4));
        assert!(!says(
            &opened(&[ask.unstamped(), client(A, ASKED, 1, b"").unstamped()]),
            4
        ));
        assert!(!says(&opened(&[ask]), 4));
        let mut declined = opened(&[ask.unstamped()]);
        (declined[1].stamped, declined[2].stamped) = (false, false);
        assert!(!says(&declined, 4));
    }

    #[test]
    fn an_id_is_copied_from_the_request_by_whoever_counts_otherwise() {
        let data = server(A, 7, ASKED, b"data");
        assert_eq!(odd(data.id(900)), ["ip_id_copied_from_trigger"]);
        assert_eq!(odd(data.id(901)), NONE);
        // A sender whose packets all carry the one id copies nobody, unless all are suspected.
        let mut packets = asking();
        packets.extend([server(A, 1, ASKED, b"").id(900), server(A, 1, ASKED, b"").id(900)]);
        assert_eq!(odd_about(&packets, 6, &[]), NONE);
        assert_eq!(odd_about(&packets, 6, &[5]), ["ip_id_copied_from_trigger"]);
    }

    #[test]
    fn an_id_far_from_its_neighbours_is_out_of_sequence() {
        // The last seven of twelve are kept: 7006 is the farthest.
        let says = |id: u16, between: &[u16]| {
            let mut packets = asking();
            packets.extend([server(A, 1, ASKED, b""); 11]);
            packets.extend(between.iter().map(|id| server(A, 1, ASKED, b"").id(*id)));
            packets.push(server(A, 1, ASKED, b"").id(id));
            odd_about(&packets, packets.len() as u64, &[]).contains(&"ip_id_out_of_sequence")
        };
        for (id, told) in [
            (11_006, false),
            (11_007, true),
            (3_006, false),
            (3_005, true),
            (30_000, true),
        ] {
            assert_eq!(says(id, &[]), told, "{id}");
        }
        assert!(!says(30_000, &[20_000, 9, 40_000]), "it does not count");
    }

    #[test]
    fn a_window_four_times_as_large_is_another_stacks() {
        for (one, two, far) in [
            (500, 2_000, false),
            (500, 2_001, true),
            (2_001, 500, true),
            (0, 1_024, false),
            (0, 1_025, true),
            (9, 9, false),
        ] {
            assert_eq!(is_far_window(one, two), far, "{one} {two}");
        }
        let data = server(A, 7, ASKED, b"data");
        assert_eq!(odd(data.window(2_001)), ["window_differs"]);
        assert_eq!(odd(data.window(2_000)), NONE);
        // One that is near enough is enough, but for the SYN-ACK's.
        let mut packets = asking();
        packets[1].window = 9_000;
        packets.extend([server(A, 1, ASKED, b""), server(A, 1, ASKED, b"").window(9_000)]);
        assert_eq!(odd_about(&packets, 6, &[]), ["window_differs"]);
        packets.push(server(A, 1, ASKED, b"").window(8_000));
        assert_eq!(odd_about(&packets, 6, &[]), NONE);
        assert_eq!(odd_about(&packets, 6, &[7]), ["window_differs"]);
    }

    #[test]
    fn a_link_address_nobody_else_has_is_odd() {
        let data = server(A, 7, ASKED, b"data");
        assert_eq!(odd(data.link(9)), ["link_source_differs"]);
        let mut packets = asking();
        packets.extend([server(A, 1, ASKED, b"").link(9), server(A, 1, ASKED, b"").link(9)]);
        assert_eq!(odd_about(&packets, 6, &[]), NONE);
        assert_eq!(odd_about(&packets[..5], 5, &[]), NONE, "the opening alone is no habit");
        packets.push(server(A, 1, ASKED, b""));
        assert_eq!(odd_about(&packets, 6, &[5]), ["link_source_differs"]);
    }

    #[test]
    fn the_heaviest_mark_says_how_odd_a_packet_is() {
        let evidence = |observation| Evidence::at(observation, &[]);
        let ttl = evidence(Observation::TtlDiffers { packet: 1, usual: 9 });
        let usual = evidence(Observation::TtlAsUsual);
        assert!(usual.llr() < 0.0 && ttl.llr() > 0.0);
        assert_eq!(oddness(&[]), 0.0);
        assert_eq!(oddness(std::slice::from_ref(&usual)), 0.0);
        let all = [usual, ttl.clone(), evidence(Observation::LinkSourceDiffers)];
        assert_eq!(oddness(&all), ttl.llr().max(all[2].llr()));
        assert!(has_odd_ttl(&all) && !has_odd_ttl(&all[2..]));
    }
}
