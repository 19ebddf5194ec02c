//! The segments of one side that later ones are compared with.

use std::mem::offset_of;

use super::flow_table::Recycle;
use super::side::Note;
use crate::time::Timestamp;

/// How many of a side's last segments are remembered (Weaver et al. keep 10; wire-facts 2.1).
pub const NOTES: usize = 8;

/// Which places of [`Landmarks::notes`] are taken: a ring.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ring {
    kept: u8,
    next: u8,
    /// The place of the last packet with payload, as long as it has one.
    data: Option<Place>,
}

/// A place of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u8);

impl Ring {
    /// The places taken, the newest first.
    pub(super) fn places(self) -> impl Iterator<Item = usize> {
        let next = usize::from(self.next);
        (1..=usize::from(self.kept)).map(move |back| (next + NOTES - back) % NOTES)
    }

    /// The next place to take.
    pub(super) const fn next(self) -> usize {
        self.next as usize
    }

    /// Takes the next place, for a packet with payload or without.
    const fn take(&mut self, has_payload: bool) -> usize {
        let place = self.next;
        self.next = (self.next + 1) % NOTES as u8;
        if (self.kept as usize) < NOTES {
            self.kept += 1;
        }
        if has_payload {
            self.data = Some(Place(place));
        }
        place as usize
    }

    /// Whether the last packet with payload will give way to the next one, which has none.
    fn parts_with_data(self) -> bool {
        self.data == Some(Place(self.next))
    }
}

/// See the module's documentation. A side that sent no segment of TCP has none of them.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Landmarks {
    pub(super) notes: [Note; NOTES],
    /// Its last packet with payload, once it is no longer among the notes.
    parted: Option<Note>,
    /// Its first SYN or SYN-ACK.
    pub opening: Option<Note>,
    /// When it repeated that last.
    opened_again: Option<Timestamp>,
    /// Its first FIN.
    pub fin: Option<Note>,
    /// Its first reset.
    pub reset: Option<Note>,
}

impl Landmarks {
    /// Where those begin that stand alone.
    pub(super) const ALONE: usize = offset_of!(Self, parted);

    /// None.
    pub const NONE: Self = Self {
        notes: [Note::NONE; NOTES],
        parted: None,
        opening: None,
        opened_again: None,
        fin: None,
        reset: None,
    };

    /// Whether it has neither closed nor reset.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.fin.is_none() && self.reset.is_none()
    }

    /// When its last SYN or SYN-ACK came.
    #[must_use]
    pub fn last_opening_at(&self) -> Option<Timestamp> {
        self.opened_again.or(self.opening.map(|opening| opening.at))
    }

    /// Whether it repeated its SYN or SYN-ACK.
    #[must_use]
    pub const fn has_opened_again(&self) -> bool {
        self.opened_again.is_some()
    }

    /// The last packet with payload of a side whose notes are kept in `ring`.
    pub(super) fn last_data(&self, ring: Ring) -> Option<&Note> {
        match ring.data {
            Some(Place(place)) => Some(&self.notes[usize::from(place)]),
            None => self.parted.as_ref(),
        }
    }

    /// Keeps the note that `make` makes of a packet, with payload or without, in the next place of `ring`.
    #[inline]
    pub(super) fn keep(&mut self, ring: &mut Ring, has_payload: bool, make: impl FnOnce() -> Note) {
        if !has_payload && ring.parts_with_data() {
            self.parted = Some(self.notes[ring.next()]);
            ring.data = None;
        }
        self.notes[ring.take(has_payload)] = make();
    }

    pub(super) fn learn_opening(&mut self, note: &Note) {
        match self.opening {
            Some(_) => self.opened_again = Some(note.at),
            None => self.opening = Some(*note),
        }
    }
}

impl Default for Landmarks {
    fn default() -> Self {
        Self::NONE
    }
}

impl Recycle for Landmarks {
    fn recycle(&mut self) {
        // The notes stay where they are: nobody asks for more than were made since.
        (self.parted, self.opening, self.fin, self.reset) = (None, None, None, None);
        self.opened_again = None;
    }
}
