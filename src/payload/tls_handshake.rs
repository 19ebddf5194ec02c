//! The handshake messages inside TLS records, as one run of octets.
//!
//! A message may be spread over several records, at any octet: some clients do so to slip past boxes that look at one
//! record only. `Cursor` steps over the record headers; what lies in one piece is lent out, what does not is joined
//! if it is short.

use arrayvec::ArrayVec;

use super::tls_record::{ContentType, HEADER, RecordsEnd, TlsRecord};

/// The longest piece that is joined when records part it; a host name is never longer (RFC 1035 2.3.4).
const MAX_JOINED: usize = 255;

/// The longest hello that is believed in, in octets: two vectors of 2^16 and some change (RFC 8446 4.1.2).
const MAX_HELLO: usize = 3 << 16;

/// Octets of a message: where they lay, or joined together where records had parted them.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a box would allocate; a hello is read once per connection"
)]
pub enum Octets<'a> {
    /// As they lay.
    Whole(&'a [u8]),
    /// Joined from several records.
    Joined(ArrayVec<u8, MAX_JOINED>),
}

impl Octets<'_> {
    /// The octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Joined(bytes) => bytes,
        }
    }

    /// The octets as text, if they are UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()).ok()
    }
}

/// How much of a hello is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloExtent {
    /// All of it.
    Whole {
        /// The offset of the first octet behind it.
        end: usize,
    },
    /// The bytes end inside it.
    Cut {
        /// How many more octets are wanting, at least.
        need: usize,
    },
    /// It contradicts itself; what stands before that is given.
    Damaged,
}

/// What reading a hello came to.
#[derive(Clone, Debug)]
pub enum HelloRead<T> {
    /// A hello, whole or in part.
    Hello(T),
    /// The bytes end before it can be told.
    Incomplete {
        /// How many more octets are wanting, at least.
        need: usize,
    },
    /// Something else.
    NotHello,
}

impl<T> HelloRead<T> {
    /// The hello, if there is one.
    #[must_use]
    pub fn hello(self) -> Option<T> {
        match self {
            Self::Hello(hello) => Some(hello),
            Self::Incomplete { .. } | Self::NotHello => None,
        }
    }
}

/// Why a cursor cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The bytes end.
    Cut { need: usize },
    /// The message ends where more of it should be, or its records break off.
    Damaged,
}

/// A place in a handshake message.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Octets from `at` to the end of the record, as declared.
    record_left: usize,
    /// Octets from `at` to the end of the message, as declared, record headers not counted.
    message_left: usize,
}

impl<'a> Cursor<'a> {
    /// Opens the message of type `kind` that a stream of records begins with; `record_version` comes along.
    pub(super) fn open(bytes: &'a [u8], kind: u8) -> HelloRead<(Self, u16)> {
        let record = match TlsRecord::read(bytes) {
            Ok(record) if record.content_type == ContentType::Handshake && record.length > 0 => record,
            Ok(_) | Err(RecordsEnd::Whole | RecordsEnd::NotTls) => return HelloRead::NotHello,
            Err(RecordsEnd::Incomplete { need }) => return HelloRead::Incomplete { need: need + 4 },
        };
        let mut cursor = Self {
            bytes,
            at: HEADER,
            record_left: record.length.into(),
            message_left: 4,
        };
        match cursor.enter(kind) {
            HelloRead::Hello(()) => HelloRead::Hello((cursor, record.version)),
            HelloRead::Incomplete { need } => HelloRead::Incomplete { need },
            HelloRead::NotHello => HelloRead::NotHello,
        }
    }

    /// Opens the message of type `kind` that begins with `bytes`, without records, as QUIC carries it.
    pub(super) fn open_bare(bytes: &'a [u8], kind: u8) -> HelloRead<Self> {
        let mut cursor = Self {
            bytes,
            at: 0,
            record_left: usize::MAX,
            message_left: 4,
        };
        match cursor.enter(kind) {
            HelloRead::Hello(()) => HelloRead::Hello(cursor),
            HelloRead::Incomplete { need } => HelloRead::Incomplete { need },
            HelloRead::NotHello => HelloRead::NotHello,
        }
    }

    fn enter(&mut self, kind: u8) -> HelloRead<()> {
        match self.u8() {
            Ok(found) if found == kind => {}
            Ok(_) | Err(Stop::Damaged) => return HelloRead::NotHello,
            Err(Stop::Cut { need }) => return HelloRead::Incomplete { need },
        }
        let mut length = 0;
        for _ in 0..3 {
            match self.u8() {
                Ok(octet) => length = length << 8 | usize::from(octet),
                Err(Stop::Damaged) => return HelloRead::NotHello,
                Err(Stop::Cut { need }) => return HelloRead::Incomplete { need },
            }
        }
        if length > MAX_HELLO {
            return HelloRead::NotHello;
        }
        self.message_left = length;
        HelloRead::Hello(())
    }

    /// The extent of a message whose fields all have been read, or that stopped short.
    pub(super) fn extent(&mut self, result: Result<(), Stop>) -> HelloExtent {
        // What stands behind the fields that are known belongs to the message, too.
        match result.and_then(|()| self.skip(self.message_left)) {
            Ok(()) => HelloExtent::Whole { end: self.at },
            Err(Stop::Cut { need }) => HelloExtent::Cut { need },
            Err(Stop::Damaged) => HelloExtent::Damaged,
        }
    }

    /// Octets of the message still to come, as declared.
    pub(super) const fn left(&self) -> usize {
        self.message_left
    }

    /// Makes sure that at least one octet of the message can be read at `at`; gives how many can in one piece.
    #[inline]
    fn here(&mut self) -> Result<usize, Stop> {
        if self.message_left == 0 {
            return Err(Stop::Damaged);
        }
        if self.record_left == 0 {
            self.next_record()?;
        }
        let declared = self.record_left.min(self.message_left);
        match (self.bytes.len() - self.at).min(declared) {
            0 => Err(Stop::Cut { need: declared }),
            here => Ok(here),
        }
    }

    /// Passes over the headers of records until one has something in it.
    fn next_record(&mut self) -> Result<(), Stop> {
        while self.record_left == 0 {
            match TlsRecord::read(&self.bytes[self.at..]) {
                Ok(record) if record.content_type == ContentType::Handshake && record.length > 0 => {
                    self.at += HEADER;
                    self.record_left = record.length.into();
                }
                Err(RecordsEnd::Incomplete { need }) => return Err(Stop::Cut { need: need + 1 }),
                Err(RecordsEnd::NotTls) if self.at == self.bytes.len() => return Err(Stop::Cut { need: HEADER + 1 }),
                Ok(_) | Err(RecordsEnd::Whole | RecordsEnd::NotTls) => return Err(Stop::Damaged),
            }
        }
        Ok(())
    }

    #[inline]
    fn step(&mut self, length: usize) -> &'a [u8] {
        let piece = &self.bytes[self.at..self.at + length];
        self.at += length;
        self.record_left -= length;
        self.message_left -= length;
        piece
    }

    /// The next `N` octets, if they are there in one piece, as nearly all are.
    #[inline(always)]
    fn in_one_piece<const N: usize>(&mut self) -> Option<[u8; N]> {
        if self.record_left < N || self.message_left < N {
            return None;
        }
        let octets = *self.bytes.get(self.at..)?.first_chunk()?;
        self.at += N;
        self.record_left -= N;
        self.message_left -= N;
        Some(octets)
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Result<u8, Stop> {
        if let Some([octet]) = self.in_one_piece() {
            return Ok(octet);
        }
        self.here()?;
        Ok(self.step(1)[0])
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, Stop> {
        if let Some(octets) = self.in_one_piece() {
            return Ok(u16::from_be_bytes(octets));
        }
        Ok(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    /// The head of an extension.
    #[inline]
    fn kind_and_length(&mut self) -> Result<(u16, usize), Stop> {
        if let Some([kind, low, length, rest]) = self.in_one_piece() {
            return Ok((
                u16::from_be_bytes([kind, low]),
                u16::from_be_bytes([length, rest]).into(),
            ));
        }
        Ok((self.u16()?, self.u16()?.into()))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        if let Some(octets) = self.in_one_piece() {
            return Ok(octets);
        }
        let mut array = [0; N];
        let mut filled = 0;
        while filled < N {
            let part = self.here()?.min(N - filled);
            array[filled..filled + part].copy_from_slice(self.step(part));
            filled += part;
        }
        Ok(array)
    }

    pub(super) fn skip(&mut self, mut length: usize) -> Result<(), Stop> {
        if length > self.message_left {
            return Err(Stop::Damaged);
        }
        if length <= self.record_left && length <= self.bytes.len() - self.at {
            self.step(length);
            return Ok(());
        }
        while length > 0 {
            let part = self.here()?.min(length);
            self.step(part);
            length -= part;
        }
        Ok(())
    }

    /// The next `length` octets; `None`, passed over, if they are parted and too long to join.
    pub(super) fn octets(&mut self, length: usize) -> Result<Option<Octets<'a>>, Stop> {
        if length > self.message_left {
            return Err(Stop::Damaged);
        }
        if length == 0 {
            return Ok(Some(Octets::Whole(&[])));
        }
        let mut part = self.here()?;
        if part >= length {
            return Ok(Some(Octets::Whole(self.step(length))));
        }
        if length > MAX_JOINED {
            self.skip(length)?;
            return Ok(None);
        }
        let mut joined = ArrayVec::new();
        loop {
            let wanted = length - joined.len();
            joined.extend(self.step(part.min(wanted)).iter().copied());
            if joined.len() == length {
                return Ok(Some(Octets::Joined(joined)));
            }
            part = self.here()?;
        }
    }

    /// Walks an extension block (RFC 8446 4.2) to the message's end: hands each extension's type and length to `read`,
    /// which may take as much of it as it likes, and no more.
    pub(super) fn extensions(&mut self, mut read: impl FnMut(&mut Self, u16) -> Result<(), Stop>) -> Result<(), Stop> {
        if self.left() == 0 {
            return Ok(()); // before TLS 1.2 a hello need not have any
        }
        let all = usize::from(self.u16()?);
        let behind = self.left().checked_sub(all).ok_or(Stop::Damaged)?;
        while self.left() > behind {
            let (kind, length) = self.kind_and_length()?;
            let after = self
                .left()
                .checked_sub(length)
                .filter(|&after| after >= behind)
                .ok_or(Stop::Damaged)?;
            // Inside the extension the message ends with it, so that no field can reach beyond.
            self.message_left = length;
            let result = match read(self, kind) {
                Ok(()) => self.skip(self.message_left),
                // An extension that is broken in itself does not spoil those behind it.
                Err(Stop::Damaged) => self.skip(self.message_left),
                Err(cut @ Stop::Cut { .. }) => Err(cut),
            };
            self.message_left += after;
            if let Err(Stop::Cut { .. }) = result {
                // Ask for the rest of the message, as far as this record holds it.
                let declared = self.record_left.min(self.message_left);
                let present = (self.bytes.len() - self.at).min(declared);
                return result.map_err(|stop| match stop {
                    Stop::Cut { need } => Stop::Cut {
                        need: need.max(declared - present),
                    },
                    Stop::Damaged => Stop::Damaged,
                });
            }
            result?;
        }
        Ok(())
    }
}
