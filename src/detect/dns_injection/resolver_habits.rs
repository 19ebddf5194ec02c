//! How the servers a client asks usually answer it: the background that a forged answer stands out from.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Duration;

use arrayvec::ArrayVec;
use foldhash::fast::FixedState;
use hashbrown::{HashSet, HashTable};

use super::exchange::{Answer, AskedBy, SpareLists};
use crate::flow::path_profile::PathProfile;

/// How many pairs of client and server one shard remembers.
const MOST_PAIRS: usize = 2048;

/// How many answers make a habit (wire-facts 4.2 TTL_OFF).
pub(super) const HABIT: u16 = 5;

/// How many answers show how fast a server can be: more than the 5 of wire-facts 4.2 TOO_FAST, since resolvers that must
/// ask elsewhere first are slow, and five in a row may have to [E].
const FAST_HABIT: u16 = 10;

/// What is known of the answers one server gives one client. Answers that are odd in themselves are not learnt.
#[derive(Clone, Debug, Default)]
pub(super) struct Resolver {
    /// What its packets look like on arrival.
    pub(super) profile: PathProfile,
    /// Answers learnt.
    pub(super) answers: u16,
    authoritative: u16,
    edns_expected: u16,
    edns_given: u16,
    ids_seen: u16,
    ids_copied: u16,
    case_kept: u16,
    case_lost: u16,
    link_source: u32,
    other_links: u16,
    /// The two shortest times from question to answer.
    shortest: [Option<Duration>; 2],
    /// TTLs of the latest answers, newest first.
    recent_ttls: [Option<u8>; 4],
    /// The address given for every name of late, for how many names, and the last of them.
    portal: Option<(IpAddr, u16, u64)>,
    /// It has given more than one address in all.
    several: bool,
    /// Addresses that lead nowhere, or into a private network, each with the first domain it was given for and whether
    /// others followed.
    sinks: ArrayVec<(IpAddr, u64, bool), 4>,
}

impl Resolver {
    /// The shortest time to an answer, `apart` left out; none before there are [`FAST_HABIT`] of them.
    pub(super) fn floor_without(&self, apart: Option<Duration>) -> Option<Duration> {
        let [first, second] = self.shortest;
        let floor = if first == apart { second } else { first };
        floor.filter(|_| self.answers >= FAST_HABIT)
    }

    /// The TTL its answers arrive with, if `ttl` is not one of those: nearly all have the one, next to none the other,
    /// and no later answer shows that the route has changed for good.
    ///
    /// Wire-facts 4.2 wants the usual TTL in 95 % of samples. Here 80 % are enough, because forged answers are among
    /// the samples, but `ttl` itself must be in no more than 5 %.
    pub(super) fn usual_ttl_unlike(&self, ttl: u8, learnt: bool) -> Option<u8> {
        let own = u32::from(learnt);
        let all = self.profile.packets().saturating_sub(own);
        let usual = self.profile.usual_ttl()?;
        let same = u32::from(self.profile.count_of(ttl)).saturating_sub(own);
        let persists = self.recent_ttls.iter().filter(|recent| **recent == Some(ttl)).count() > usize::from(learnt);
        (all >= u32::from(HABIT)
            && u32::from(self.profile.count_of(usual)) * 5 >= all * 4
            && same * 20 <= all
            && !persists
            && usual.abs_diff(ttl) > 1)
            .then_some(usual)
    }

    /// Whether `ttl` is what this server's answers usually arrive with.
    pub(super) fn is_usual_ttl(&self, ttl: u8) -> bool {
        self.answers >= HABIT && self.profile.usual_ttl().is_some_and(|usual| usual.abs_diff(ttl) <= 1)
    }

    /// Whether it has answered before, and never with a TTL like this.
    pub(super) fn is_foreign_ttl(&self, ttl: u8) -> bool {
        let like = [ttl.saturating_sub(1), ttl, ttl.saturating_add(1)];
        self.profile.packets() > 0 && like.iter().all(|ttl| self.profile.count_of(*ttl) == 0)
    }

    /// Whether it never claims authority.
    pub(super) const fn never_authoritative(&self) -> bool {
        self.answers >= HABIT && self.authoritative == 0
    }

    /// Whether it has answered EDNS with EDNS whenever it was asked so.
    pub(super) const fn always_speaks_edns(&self) -> bool {
        self.edns_expected >= HABIT && self.edns_given == self.edns_expected
    }

    /// Whether it gives back the case a name was asked in.
    pub(super) const fn keeps_case(&self) -> bool {
        self.case_kept >= 2 && self.case_lost == 0
    }

    /// Whether nearly all its answers take their IP id from the question, as some small devices do.
    pub(super) const fn copies_ids(&self) -> bool {
        self.ids_copied >= 3 && self.ids_copied as u32 * 10 >= self.ids_seen as u32 * 9
    }

    /// The link-layer source of all its answers, if `source` is another.
    pub(super) const fn link_source_unlike(&self, source: u32) -> Option<u32> {
        if self.answers >= HABIT && self.other_links == 0 && self.link_source != source && source != 0 {
            Some(self.link_source)
        } else {
            None
        }
    }

    /// For how many different names in a row the same address was given.
    pub(super) fn names_sharing(&self, address: IpAddr) -> u16 {
        self.portal
            .map_or(0, |(shared, names, _)| if shared == address { names } else { 0 })
    }

    /// The same, as long as no other address was ever given: what a captive portal does from the start.
    pub(super) fn names_sharing_from_the_start(&self, address: IpAddr) -> u16 {
        if self.several { 0 } else { self.names_sharing(address) }
    }

    /// Learns that a name of `domain` was given `address`, which no public server can have. Once there are too many,
    /// further addresses are not learnt.
    pub(super) fn learn_sink(&mut self, address: IpAddr, domain: u64) {
        match self.sinks.iter_mut().find(|(sink, _, _)| *sink == address) {
            Some((_, first, shared)) => *shared |= *first != domain,
            None => _ = self.sinks.try_push((address, domain, false)),
        }
    }

    /// Whether names of unrelated domains were given `address`, which no public server can have.
    pub(super) fn is_shared_sink(&self, address: IpAddr) -> bool {
        self.sinks.iter().any(|(sink, _, shared)| *sink == address && *shared)
    }

    /// Learns whether an answer, whoever gave it, takes its IP id from the question.
    pub(super) fn learn_id(&mut self, asked: &AskedBy, answer: &Answer) {
        self.ids_seen = self.ids_seen.saturating_add(1);
        self.ids_copied = self
            .ids_copied
            .saturating_add(u16::from(copied_id(asked, answer).is_some()));
    }

    /// Learns which address was given for a name, whoever gave it.
    pub(super) fn learn_address(&mut self, name: u64, address: IpAddr) {
        match &mut self.portal {
            Some((shared, names, last)) if *shared == address => {
                if *last != name {
                    *names = names.saturating_add(1);
                    *last = name;
                }
            }
            portal => {
                self.several |= portal.is_some();
                *portal = Some((address, 1, name));
            }
        }
    }

    /// Learns an answer that is not odd in itself.
    pub(super) fn learn(&mut self, answer: &Answer, asked: Option<&AskedBy>) {
        let count = |counter: &mut u16, so: bool| *counter = counter.saturating_add(u16::from(so));
        if self.answers == 0 {
            self.link_source = answer.marks.link_source;
        }
        count(&mut self.other_links, self.link_source != answer.marks.link_source);
        self.profile.learn(&answer.marks, answer.frame, false);
        self.recent_ttls.rotate_right(1);
        self.recent_ttls[0] = Some(answer.marks.ttl);
        count(&mut self.answers, true);
        count(&mut self.authoritative, answer.is_authoritative());
        if let Some(asked) = asked {
            count(&mut self.edns_expected, asked.edns);
            count(&mut self.edns_given, asked.edns && answer.edns);
            if asked.mixes_case {
                count(&mut self.case_kept, asked.case_hash == answer.case_hash);
                count(&mut self.case_lost, asked.case_hash != answer.case_hash);
            }
        }
        if let Some(round_trip) = answer.round_trip {
            let [first, second] = &mut self.shortest;
            if first.is_none_or(|first| round_trip < first) {
                *second = *first;
                *first = Some(round_trip);
            } else if second.is_none_or(|second| round_trip < second) {
                *second = Some(round_trip);
            }
        }
    }
}

/// The answer's IP id, and how far above the question's it is, if that is 0 or 1. Ids 0 and 1 are everybody's.
pub(super) fn copied_id(asked: &AskedBy, answer: &Answer) -> Option<(u16, u16)> {
    let (asked, answered) = (asked.marks.ip_id?, answer.marks.ip_id?);
    let offset = answered.wrapping_sub(asked);
    (asked > 1 && answered > 1 && offset <= 1).then_some((answered, offset))
}

/// Where a pair lies among the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(usize);

#[derive(Debug)]
struct Entry {
    client: IpAddr,
    server: IpAddr,
    /// Used since the hand last passed.
    used: bool,
    resolver: Resolver,
}

/// The most answered addresses one shard remembers; hosts at later ones are taken for nameless.
const MOST_NAMED: usize = 4096;

/// What one shard knows of pairs of client and server. When it is full, a pair not used since the last round leaves
/// (the clock algorithm), which depends on the packets alone.
#[derive(Debug, Default)]
pub struct ResolverHabits {
    entries: Vec<Entry>,
    index: HashTable<u32>,
    hand: usize,
    answered: u64,
    unanswered: u64,
    spare: SpareLists,
    named: HashSet<IpAddr>,
}

fn hash(client: IpAddr, server: IpAddr) -> u64 {
    FixedState::with_seed(0x646e_735f_6861_6269).hash_one((client, server))
}

impl ResolverHabits {
    /// How many questions were answered, and how many were seen to the end without an answer.
    #[must_use]
    pub const fn counts(&self) -> (u64, u64) {
        (self.answered, self.unanswered)
    }

    /// What flows that are over have left behind.
    pub(super) const fn spare(&mut self) -> &mut SpareLists {
        &mut self.spare
    }

    /// Remembers that a name was answered with `addresses`, as far as there is room.
    pub(super) fn learn_named(&mut self, addresses: &[IpAddr]) {
        for address in addresses {
            if self.named.len() < MOST_NAMED {
                self.named.insert(*address);
            }
        }
    }

    /// The addresses that names were answered with, in no order.
    pub fn named(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.named.iter().copied()
    }

    pub(super) const fn count_answered(&mut self) {
        self.answered += 1;
    }

    pub(super) const fn count_unanswered(&mut self) {
        self.unanswered += 1;
    }

    /// What is known of a pair.
    pub(super) fn get(&self, client: IpAddr, server: IpAddr) -> Option<&Resolver> {
        let at = *self.index.find(hash(client, server), |at| {
            let entry = &self.entries[*at as usize];
            (entry.client, entry.server) == (client, server)
        })?;
        Some(&self.entries[at as usize].resolver)
    }

    /// Where what is known of a pair lies, until the next pair is looked for.
    pub(super) fn place(&mut self, client: IpAddr, server: IpAddr) -> Place {
        let hashed = hash(client, server);
        let found = self.index.find(hashed, |at| {
            let entry = &self.entries[*at as usize];
            (entry.client, entry.server) == (client, server)
        });
        let at = match found {
            Some(at) => *at as usize,
            None => self.insert(hashed, client, server),
        };
        self.entries[at].used = true;
        Place(at)
    }

    /// What is known of the pair at `place`.
    pub(super) fn at(&self, place: Place) -> &Resolver {
        &self.entries[place.0].resolver
    }

    /// The same, to add to.
    pub(super) fn at_mut(&mut self, place: Place) -> &mut Resolver {
        &mut self.entries[place.0].resolver
    }

    fn insert(&mut self, hashed: u64, client: IpAddr, server: IpAddr) -> usize {
        let entry = Entry {
            client,
            server,
            used: true,
            resolver: Resolver::default(),
        };
        let at = if self.entries.len() < MOST_PAIRS {
            if self.entries.capacity() == 0 {
                // Pages that are never written to cost nothing, growing would copy every pair.
                self.entries.reserve_exact(MOST_PAIRS);
            }
            self.entries.push(entry);
            self.entries.len() - 1
        } else {
            while std::mem::replace(&mut self.entries[self.hand].used, false) {
                self.hand = (self.hand + 1) % MOST_PAIRS;
            }
            let at = self.hand;
            self.hand = (self.hand + 1) % MOST_PAIRS;
            let gone = std::mem::replace(&mut self.entries[at], entry);
            if let Ok(old) = self
                .index
                .find_entry(hash(gone.client, gone.server), |other| *other as usize == at)
            {
                old.remove();
            }
            at
        };
        let entries = &self.entries;
        self.index.insert_unique(hashed, at as u32, |at| {
            let entry = &entries[*at as usize];
            hash(entry.client, entry.server)
        });
        at
    }
}

#[cfg(test)]
mod tests {
    use super::super::exchange::tests::answer;
    use super::*;

    fn client(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn pairs_are_spread_out() {
        let hashes: HashSet<u64> = (0..100)
            .flat_map(|one| (0..100).map(move |two| hash(client(one), client(two))))
            .collect();
        assert_eq!(hashes.len(), 10_000);
    }

    #[test]
    fn a_full_store_gives_up_a_pair_not_used_of_late() {
        let mut habits = ResolverHabits::default();
        let server = client(7);
        for number in 0..MOST_PAIRS as u32 {
            let place = habits.place(client(number), server);
            habits.at_mut(place).answers = 1;
        }
        habits.place(client(u32::MAX), server);
        assert!(habits.get(client(0), server).is_none(), "the hand went round once");
        habits.place(client(1), server);
        habits.place(client(u32::MAX - 1), server);
        assert!(habits.get(client(1), server).is_some(), "used since the hand passed");
        assert!(habits.get(client(2), server).is_none());
        assert_eq!(habits.entries.len(), MOST_PAIRS);
        assert_eq!(habits.index.len(), MOST_PAIRS);
    }

    #[test]
    fn one_address_for_many_names_is_counted_until_another_comes() {
        let mut resolver = Resolver::default();
        for name in [1, 1, 2, 3] {
            resolver.learn_address(name, client(9));
        }
        assert_eq!(resolver.names_sharing(client(9)), 3);
        resolver.learn_address(4, client(8));
        assert_eq!(resolver.names_sharing(client(9)), 0);
    }

    #[test]
    fn the_hand_goes_round_and_round() {
        let mut habits = ResolverHabits::default();
        let server = client(7);
        for number in 0..3 * MOST_PAIRS as u32 + 5 {
            let place = habits.place(client(number), server);
            habits.at_mut(place).answers = 1;
            assert!(habits.get(client(number), server).is_some());
            assert!(habits.entries.len() <= MOST_PAIRS && habits.index.len() == habits.entries.len());
        }
        // Of pairs used once each, the latest are kept.
        let kept = (0..3 * MOST_PAIRS as u32 + 5).filter(|number| habits.get(client(*number), server).is_some());
        assert!(kept.eq(2 * MOST_PAIRS as u32 + 5..3 * MOST_PAIRS as u32 + 5));
    }

    /// An answer of so many to ordinary questions.
    fn ordinary(flags: u16, ttl: u8, ip_id: u16) -> Answer {
        answer(flags, "a.example", 1, &[(1, &[93, 184, 216, 34])], (ttl, ip_id, 0))
    }

    fn asked(ip_id: u16, edns: bool) -> AskedBy {
        AskedBy {
            frame: crate::packet::frame::FrameNumber::new(0, 1),
            at: crate::time::Timestamp::EPOCH,
            marks: crate::packet::path_marks::PathMarks {
                ip_id: Some(ip_id),
                ..Default::default()
            },
            edns,
            recursion_desired: true,
            mixes_case: false,
            case_hash: 1,
        }
    }

    /// A resolver that has given an answer from each TTL.
    fn used_to(ttls: &[u8]) -> Resolver {
        let mut resolver = Resolver::default();
        ttls.iter()
            .for_each(|ttl| resolver.learn(&ordinary(0x0180, *ttl, 9), None));
        resolver
    }

    #[test]
    fn five_answers_make_a_habit() {
        for (answers, habit) in [(4, false), (5, true), (6, true)] {
            let resolver = used_to(&vec![60; answers]);
            assert_eq!(resolver.never_authoritative(), habit, "{answers}");
            assert_eq!(resolver.is_usual_ttl(60), habit);
            assert_eq!(resolver.is_usual_ttl(61), habit);
            assert!(!resolver.is_usual_ttl(62) && !resolver.is_usual_ttl(58));
            assert_eq!(resolver.link_source_unlike(3), habit.then_some(0));
            assert_eq!(resolver.link_source_unlike(0), None);
            assert_eq!(resolver.usual_ttl_unlike(50, false), habit.then_some(60));
            // The odd one itself does not count.
            assert_eq!(
                used_to(&[&vec![60; answers][..], &[50]].concat()).usual_ttl_unlike(50, true),
                habit.then_some(60)
            );
        }
        let mut resolver = used_to(&[60; 9]);
        resolver.learn(&ordinary(0x0580, 60, 9), None);
        assert!(!resolver.never_authoritative());
        let mut moved = ordinary(0x0180, 60, 9);
        moved.marks.link_source = 4;
        resolver.learn(&moved, None);
        assert_eq!(resolver.link_source_unlike(3), None);
    }

    #[test]
    fn a_usual_ttl_is_nearly_all_and_the_other_next_to_none() {
        // 60 apart from one in five is usual enough, less is not.
        let usual = |same: usize, others: &[u8]| used_to(&[others, &vec![60; same]].concat());
        assert_eq!(usual(8, &[58, 56]).usual_ttl_unlike(40, false), Some(60));
        assert_eq!(usual(7, &[58, 56, 54]).usual_ttl_unlike(40, false), None);
        // One in twenty may be the odd one, long ago.
        assert_eq!(usual(19, &[40]).usual_ttl_unlike(40, false), Some(60));
        assert_eq!(usual(18, &[40]).usual_ttl_unlike(40, false), None);
        // A hop more or less is none.
        assert_eq!(usual(10, &[]).usual_ttl_unlike(61, false), None);
        assert_eq!(usual(10, &[]).usual_ttl_unlike(62, false), Some(60));
        // A route that has changed of late, with many answers behind it.
        let mut turned = vec![60; 60];
        turned.extend([40, 60, 60]);
        assert_eq!(used_to(&turned).usual_ttl_unlike(40, false), None);
        turned.push(60);
        assert_eq!(used_to(&turned).usual_ttl_unlike(40, false), None);
        turned.push(60);
        assert_eq!(used_to(&turned).usual_ttl_unlike(40, false), Some(60));
        turned.push(40);
        assert_eq!(used_to(&turned).usual_ttl_unlike(40, true), Some(60));
        turned.push(40);
        assert_eq!(used_to(&turned).usual_ttl_unlike(40, true), None);
    }

    #[test]
    fn a_ttl_is_foreign_if_none_was_near() {
        assert!(!Resolver::default().is_foreign_ttl(60));
        let resolver = used_to(&[60]);
        let foreign: Vec<u8> = (57..=63).filter(|ttl| resolver.is_foreign_ttl(*ttl)).collect();
        assert_eq!(foreign, [57, 58, 62, 63]);
    }

    #[test]
    fn edns_and_case_are_kept_or_not() {
        let mut resolver = Resolver::default();
        let with_edns = Answer {
            edns: true,
            ..ordinary(0x0180, 60, 9)
        };
        for count in 1..=6 {
            resolver.learn(&with_edns, Some(&asked(1, true)));
            // What was not asked for is not owed.
            resolver.learn(&ordinary(0x0180, 60, 9), Some(&asked(1, false)));
            assert_eq!(resolver.always_speaks_edns(), count >= 5, "{count}");
        }
        resolver.learn(&ordinary(0x0180, 60, 9), Some(&asked(1, true)));
        assert!(!resolver.always_speaks_edns());

        let mut resolver = Resolver::default();
        let mixed = |case_hash| AskedBy {
            mixes_case: true,
            case_hash,
            ..asked(1, false)
        };
        let kept = ordinary(0x0180, 60, 9);
        resolver.learn(&kept, Some(&mixed(kept.case_hash)));
        assert!(!resolver.keeps_case());
        resolver.learn(&kept, Some(&mixed(kept.case_hash)));
        assert!(resolver.keeps_case());
        resolver.learn(&kept, Some(&mixed(5)));
        assert!(!resolver.keeps_case());
    }

    #[test]
    fn ids_taken_from_the_question_are_recognised() {
        for (question, answered, copied) in [
            (5, 5, Some((5, 0))),
            (5, 6, Some((6, 1))),
            (5, 7, None),
            (5, 4, None),
            (2, 2, Some((2, 0))),
            // Everybody's.
            (1, 1, None),
            (1, 2, None),
            (0, 0, None),
            (u16::MAX, 0, None),
        ] {
            let found = copied_id(&asked(question, false), &ordinary(0x0180, 60, answered));
            assert_eq!(found, copied, "{question} {answered}");
        }
        let share = |copied: usize, others: usize| {
            let mut resolver = Resolver::default();
            (0..copied).for_each(|_| resolver.learn_id(&asked(7, false), &ordinary(0x0180, 60, 7)));
            (0..others).for_each(|_| resolver.learn_id(&asked(7, false), &ordinary(0x0180, 60, 99)));
            resolver.copies_ids()
        };
        assert!(share(3, 0) && share(9, 1) && share(18, 2));
        assert!(!share(2, 0) && !share(8, 1) && !share(17, 2));
    }

    #[test]
    fn the_fastest_answer_is_known_after_ten() {
        let mut resolver = Resolver::default();
        let times: [u64; 10] = [40, 30, 35, 20, 25, 50, 60, 22, 70, 80];
        for (index, millis) in times.into_iter().enumerate() {
            assert_eq!(resolver.floor_without(None), None, "{index}");
            let taken = Answer {
                round_trip: Some(Duration::from_millis(millis)),
                ..ordinary(0x0180, 60, 9)
            };
            resolver.learn(&taken, None);
        }
        let floor = |apart: Option<u64>| resolver.floor_without(apart.map(Duration::from_millis));
        assert_eq!(floor(None), Some(Duration::from_millis(20)));
        assert_eq!(floor(Some(20)), Some(Duration::from_millis(22)));
        assert_eq!(floor(Some(22)), Some(Duration::from_millis(20)));
    }

    #[test]
    fn a_sink_is_shared_by_unrelated_domains() {
        let mut resolver = Resolver::default();
        resolver.learn_sink(client(9), 1);
        resolver.learn_sink(client(9), 1);
        assert!(!resolver.is_shared_sink(client(9)));
        resolver.learn_sink(client(8), 2);
        assert!(!resolver.is_shared_sink(client(9)) && !resolver.is_shared_sink(client(8)));
        resolver.learn_sink(client(9), 2);
        assert!(resolver.is_shared_sink(client(9)) && !resolver.is_shared_sink(client(8)));
    }

    #[test]
    fn a_portal_answers_everything_alike_from_the_start() {
        let mut resolver = Resolver::default();
        assert_eq!(resolver.names_sharing_from_the_start(client(9)), 0);
        resolver.learn_address(1, client(9));
        resolver.learn_address(2, client(9));
        assert_eq!(resolver.names_sharing_from_the_start(client(9)), 2);
        assert_eq!(resolver.names_sharing_from_the_start(client(8)), 0);
        resolver.learn_address(3, client(8));
        resolver.learn_address(4, client(8));
        assert_eq!(
            (
                resolver.names_sharing(client(8)),
                resolver.names_sharing_from_the_start(client(8))
            ),
            (2, 0)
        );
    }
}
