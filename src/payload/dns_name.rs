//! A domain name as it stands in a DNS message: labels, perhaps behind compression pointers, never copied.
//!
//! A [`Name`] has been walked once when it is made, within the bounds of RFC 1035 (255 octets, pointers only backwards),
//! so using it cannot fail or loop. Names compare without regard to ASCII case (RFC 4343) but keep the case they came
//! with, since a client may have mixed it on purpose ("0x20"). [`NameBuf`] keeps a copy where a name must outlive its
//! packet.

use std::fmt;

use arrayvec::ArrayVec;

/// The longest name in octets, length bytes and root included (RFC 1035 2.3.4).
pub const MAX_NAME: usize = 255;

/// Where names of a message may begin: behind its header (RFC 1035 4.1.1).
const HEADER: usize = 12;

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameFault {
    /// The message ends inside the name.
    CutShort,
    /// The name is longer than [`MAX_NAME`].
    TooLong,
    /// A label begins with the reserved bits `01` or `10` (RFC 1035 4.1.4; RFC 6891 5).
    ReservedLabel,
    /// A pointer leads back to where the name has already been.
    PointerLoop,
    /// A pointer leads forward, where RFC 1035 4.1.4 lets it lead to a *prior* name only.
    PointerForward,
    /// A pointer leads into the message's header.
    PointerIntoHeader,
}

/// A checked name, borrowed from its message.
#[derive(Clone, Copy)]
pub struct Name<'a> {
    message: &'a [u8],
    /// Where the name begins; at most `u16::MAX`, since longer messages are not read that far.
    at: u16,
    /// Octets without compression, length bytes and root included: 1 to 255.
    wire_len: u8,
}

impl<'a> Name<'a> {
    /// Reads the name at `at`, an offset into the whole `message`, and the offset of what follows it.
    ///
    /// # Errors
    /// What keeps the name from being read.
    #[inline]
    pub fn read(message: &'a [u8], at: usize) -> Result<(Self, usize), NameFault> {
        let start = u16::try_from(at).map_err(|_| NameFault::CutShort)?;
        let mut at = at;
        let mut run = at; // where the present run of labels began: a pointer must lead to before it
        let mut end = None;
        let mut wire_len = 1;
        loop {
            let length = *message.get(at).ok_or(NameFault::CutShort)?;
            match length {
                0 => {
                    let end = end.unwrap_or(at + 1);
                    return Ok((
                        Self {
                            message,
                            at: start,
                            wire_len: wire_len as u8,
                        },
                        end,
                    ));
                }
                1..=0x3f => {
                    let step = 1 + usize::from(length);
                    at += step;
                    wire_len += step;
                    if wire_len > MAX_NAME {
                        return Err(NameFault::TooLong);
                    }
                }
                0x40..=0xbf => return Err(NameFault::ReservedLabel),
                0xc0..=0xff => {
                    let low = *message.get(at + 1).ok_or(NameFault::CutShort)?;
                    let target = usize::from(length & 0x3f) << 8 | usize::from(low);
                    end.get_or_insert(at + 2);
                    if target > at {
                        return Err(NameFault::PointerForward);
                    } else if target >= run {
                        return Err(NameFault::PointerLoop);
                    } else if target < HEADER {
                        return Err(NameFault::PointerIntoHeader);
                    }
                    at = target;
                    run = target;
                }
            }
        }
    }

    /// The name's labels, the leftmost first, without the root.
    #[must_use]
    pub fn labels(self) -> Labels<'a> {
        Labels {
            message: self.message,
            at: self.at.into(),
            left: self.wire_len.into(),
        }
    }

    /// The name's length in octets without compression, length bytes and root included: 1 to 255.
    #[must_use]
    pub const fn wire_len(self) -> usize {
        self.wire_len as usize
    }

    /// Whether this is the root.
    #[must_use]
    pub const fn is_root(self) -> bool {
        self.wire_len <= 1
    }

    /// Where in its message the name begins.
    #[must_use]
    pub const fn offset(self) -> usize {
        self.at as usize
    }

    /// Whether both are the same name, ASCII case aside (RFC 4343).
    #[must_use]
    pub fn eq_ignore_case(self, other: Name<'_>) -> bool {
        self.same_labels(other, <[u8]>::eq_ignore_ascii_case)
    }

    /// Whether both are the same name written in the same case.
    #[must_use]
    pub fn eq_with_case(self, other: Name<'_>) -> bool {
        self.same_labels(other, |a, b| a == b)
    }

    fn same_labels(self, other: Name<'_>, same: impl Fn(&[u8], &[u8]) -> bool) -> bool {
        if self.wire_len != other.wire_len {
            return false;
        }
        if std::ptr::eq(self.message, other.message) && self.at == other.at {
            return true;
        }
        let (mut ours, mut theirs) = (self.labels(), other.labels());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if same(a, b) => {}
                _ => return false,
            }
        }
    }

    /// Whether this is the name that `dotted` writes (`www.example.com`, with or without a dot at the end), ASCII case
    /// aside. Escapes in `dotted` are not understood: it is meant for host names.
    #[must_use]
    pub fn eq_dotted(self, dotted: &str) -> bool {
        let mut theirs = dotted_labels(dotted);
        self.labels()
            .all(|ours| theirs.next().is_some_and(|theirs| ours.eq_ignore_ascii_case(theirs)))
            && theirs.next().is_none()
    }

    /// Whether the name mixes upper and lower case, as a client does that guards its questions with "0x20" bits.
    #[must_use]
    pub fn mixes_case(self) -> bool {
        let (mut upper, mut lower) = (false, false);
        for octet in self.labels().flatten() {
            upper |= octet.is_ascii_uppercase();
            lower |= octet.is_ascii_lowercase();
        }
        upper && lower
    }

    /// A hash of the name in lower case; the same as [`hash_dotted`] gives for its text.
    ///
    /// The same in every run and on every machine. Whoever chooses names can make two collide: compare the names too
    /// where that would matter.
    #[must_use]
    pub fn stable_hash(self) -> u64 {
        hash_labels(self.labels())
    }

    /// Appends the name in lower case, without a dot at the end, to a fixed buffer. Returns `None`, with as much as fits
    /// written, if the escaped text is longer than the buffer; a host name never is.
    pub fn write_lower<const N: usize>(self, text: &mut arrayvec::ArrayString<N>) -> Option<()> {
        use fmt::Write as _;
        // Without an early end, so that several octets are looked at at once.
        let plain = |so_far: bool, octet: &u8| so_far & matches!(octet, 0x21..=0x7e) & !matches!(octet, b'.' | b'\\');
        // Each label with a dot behind it.
        let mut dotted = ArrayVec::<u8, MAX_NAME>::new();
        let mut all_plain = !self.is_root();
        for label in self.labels() {
            all_plain &= label.iter().fold(true, plain);
            dotted.try_extend_from_slice(label).ok()?;
            dotted.try_push(b'.').ok()?;
        }
        if !all_plain {
            return write!(text, "{self}").ok();
        }
        dotted.pop();
        dotted.make_ascii_lowercase();
        let fits = dotted.len().min(text.remaining_capacity());
        // Plain octets are ASCII.
        text.push_str(std::str::from_utf8(&dotted[..fits]).ok()?);
        (fits == dotted.len()).then_some(())
    }
}

/// The labels of a [`Name`].
#[derive(Clone, Debug)]
pub struct Labels<'a> {
    message: &'a [u8],
    at: usize,
    /// Octets of the name not yet walked. The check has proved that they are there; this only makes an end certain.
    left: usize,
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let length = usize::from(*self.message.get(self.at)?);
            match length {
                0 => return None,
                1..=0x3f => {
                    self.left = self.left.checked_sub(1 + length)?;
                    let label = self.message.get(self.at + 1..self.at + 1 + length)?;
                    self.at += 1 + length;
                    return Some(label);
                }
                _ => {
                    let target = (length & 0x3f) << 8 | usize::from(*self.message.get(self.at + 1)?);
                    if target >= self.at {
                        return None;
                    }
                    self.at = target;
                }
            }
        }
    }
}

impl fmt::Display for Name<'_> {
    /// The name in lower case, without a dot at the end; the root is `.`. Octets that would mislead a reader are escaped
    /// as in a zone file (RFC 1035 5.1): `\.` and `\\`, and `\DDD` for what is no printable ASCII.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for (index, label) in self.labels().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            for octet in label {
                match octet.to_ascii_lowercase() {
                    octet @ (b'.' | b'\\') => write!(f, "\\{}", char::from(octet))?,
                    octet @ 0x21..=0x7e => fmt::Write::write_char(f, octet.into())?,
                    octet => write!(f, "\\{octet:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

/// A name that outlives its packet: uncompressed, in the case it came with.
#[derive(Clone, PartialEq, Eq)]
pub struct NameBuf {
    wire: ArrayVec<u8, MAX_NAME>,
}

impl NameBuf {
    /// The name, to look at.
    #[must_use]
    pub fn as_name(&self) -> Name<'_> {
        // A wire form ends with the root's zero byte; at most 255 octets fit.
        Name {
            message: &self.wire,
            at: 0,
            wire_len: self.wire.len() as u8,
        }
    }
}

impl From<Name<'_>> for NameBuf {
    fn from(name: Name<'_>) -> Self {
        let mut wire = ArrayVec::new();
        for label in name.labels() {
            wire.push(label.len() as u8); // at most 63
            wire.extend(label.iter().copied());
        }
        wire.push(0);
        Self { wire }
    }
}

impl Default for NameBuf {
    /// The root.
    fn default() -> Self {
        Self {
            wire: ArrayVec::from_iter([0]),
        }
    }
}

impl fmt::Debug for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameBuf({})", self.as_name())
    }
}

/// The hash that [`Name::stable_hash`] gives, of a name written with dots: an HTTP host or a TLS server name.
#[must_use]
pub fn hash_dotted(name: &str) -> u64 {
    hash_labels(dotted_labels(name))
}

fn dotted_labels(name: &str) -> impl Iterator<Item = &[u8]> {
    name.strip_suffix('.')
        .unwrap_or(name)
        .split('.')
        .filter(|label| !label.is_empty())
        .map(str::as_bytes)
}

fn hash_labels<'l>(labels: impl Iterator<Item = &'l [u8]>) -> u64 {
    let mut hash = 0x243f_6a88_85a3_08d3; // digits of pi: nothing up the sleeve
    for label in labels {
        let (words, rest) = label.as_chunks::<8>();
        for word in words {
            hash = fold(hash, lower_case(u64::from_le_bytes(*word)));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = fold(
            hash.wrapping_add(label.len() as u64),
            lower_case(u64::from_le_bytes(last)),
        );
    }
    hash
}

/// Multiplies to 128 bits and folds the halves together, as wyhash and foldhash do.
fn fold(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ 0x1319_8a2e_0370_7344) * u128::from(word ^ 0xa409_3822_299f_31d0);
    (product as u64) ^ (product >> 64) as u64
}

/// Eight octets in lower case at once.
fn lower_case(word: u64) -> u64 {
    const fn each(octet: u8) -> u64 {
        u64::from_ne_bytes([octet; 8])
    }
    let low = word & each(0x7f);
    let from_a = low + each(0x80 - b'A');
    let beyond_z = low + each(0x80 - b'Z' - 1);
    let upper = from_a & !beyond_z & !word & each(0x80);
    word | upper >> 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with a name at 12, and behind it whatever the test wants to point there.
    fn message(rest: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes.extend_from_slice(b"\x03www\x07Example\x03com\x00");
        for part in rest {
            bytes.extend_from_slice(part);
        }
        bytes
    }

    const AFTER: usize = 29;

    #[test]
    fn a_plain_name_is_read_and_written_in_lower_case() {
        let bytes = message(&[]);
        let (name, end) = Name::read(&bytes, 12).unwrap();
        assert_eq!((end, name.wire_len()), (AFTER, 17));
        assert_eq!(name.to_string(), "www.example.com");
        assert!(
            name.eq_dotted("WWW.example.com.")
                && !name.eq_dotted("example.com")
                && !name.eq_dotted("a.www.example.com")
        );
        assert!(name.mixes_case());
    }

    #[test]
    fn a_pointer_is_followed_and_the_name_ends_behind_it() {
        let bytes = message(&[b"\x04mail\xc0\x10", b"\xc0\x1d"]);
        let (name, end) = Name::read(&bytes, AFTER).unwrap();
        assert_eq!((name.to_string().as_str(), end), ("mail.example.com", AFTER + 7));
        let (chained, _) = Name::read(&bytes, end).unwrap();
        assert!(chained.eq_with_case(name));
    }

    #[test]
    fn pointers_that_do_not_lead_back_are_told_apart() {
        let fault = |tail: &[u8]| Name::read(&message(&[tail]), AFTER).unwrap_err();
        assert_eq!(fault(b"\xc0\x1d"), NameFault::PointerLoop);
        assert_eq!(fault(b"\x01a\xc0\x1d"), NameFault::PointerLoop);
        assert_eq!(fault(b"\xc0\x40"), NameFault::PointerForward);
        assert_eq!(fault(b"\xc0\x04"), NameFault::PointerIntoHeader);
        assert_eq!(fault(b"\xc0"), NameFault::CutShort);
        assert_eq!(fault(b"\x05abc"), NameFault::CutShort);
        assert_eq!(fault(b""), NameFault::CutShort);
        assert_eq!(fault(b"\x41a\x00"), NameFault::ReservedLabel);
    }

    #[test]
    fn two_pointers_into_each_other_end() {
        let bytes = message(&[b"\x01a\xc0\x20\x00", b"\xc0\x1d"]);
        assert_eq!(Name::read(&bytes, AFTER + 5).unwrap_err(), NameFault::PointerForward);
    }

    #[test]
    fn a_name_of_255_octets_is_the_longest() {
        let mut longest = vec![0; HEADER];
        for _ in 0..127 {
            longest.extend_from_slice(b"\x01a");
        }
        longest.push(0);
        assert_eq!(Name::read(&longest, HEADER).unwrap().0.wire_len(), 255);
        longest.splice(HEADER..HEADER, *b"\x01a");
        assert_eq!(Name::read(&longest, HEADER).unwrap_err(), NameFault::TooLong);
    }

    #[test]
    fn names_compare_without_case_unless_asked() {
        let (upper, lower) = (message(&[]), message(&[]).to_ascii_lowercase());
        let (upper, lower) = (Name::read(&upper, 12).unwrap().0, Name::read(&lower, 12).unwrap().0);
        assert!(upper.eq_ignore_case(lower) && !upper.eq_with_case(lower));
        assert_eq!(upper.stable_hash(), lower.stable_hash());
    }

    #[test]
    fn the_hash_of_a_name_is_that_of_its_text_and_never_changes() {
        let bytes = message(&[]);
        let name = Name::read(&bytes, 12).unwrap().0;
        assert_eq!(name.stable_hash(), hash_dotted("www.EXAMPLE.com."));
        assert_ne!(name.stable_hash(), hash_dotted("wwwe.xample.com"));
        assert_ne!(hash_dotted("ab.c"), hash_dotted("a.bc"));
        assert_eq!(hash_dotted("www.example.com"), STABLE);
    }

    /// Kept data may hold hashes: a change of the function must be noticed.
    const STABLE: u64 = 11_139_474_759_984_812_110;

    #[test]
    fn lower_case_touches_capitals_only() {
        for octet in 0..=u8::MAX {
            let mut word = [b'x'; 8];
            word[3] = octet;
            let mut expected = word;
            expected[3] = octet.to_ascii_lowercase();
            assert_eq!(lower_case(u64::from_le_bytes(word)).to_le_bytes(), expected);
        }
    }

    #[test]
    fn odd_octets_are_escaped() {
        let mut bytes = vec![0; HEADER];
        bytes.extend_from_slice(b"\x07a.b\\ \x00\xff\x00");
        assert_eq!(Name::read(&bytes, HEADER).unwrap().0.to_string(), r"a\.b\\\032\000\255");
        assert_eq!(Name::read(&[0; 13], HEADER).unwrap().0.to_string(), ".");
    }

    #[test]
    fn a_kept_name_equals_the_one_it_was_taken_from() {
        let bytes = message(&[b"\x04mail\xc0\x10"]);
        let name = Name::read(&bytes, AFTER).unwrap().0;
        let kept = NameBuf::from(name);
        assert!(kept.as_name().eq_with_case(name));
        assert_eq!(kept.as_name().to_string(), "mail.example.com");
        assert!(NameBuf::default().as_name().is_root());
    }

    #[test]
    fn a_name_too_long_for_the_text_buffer_is_said_to_be() {
        let bytes = message(&[]);
        let name = Name::read(&bytes, 12).unwrap().0;
        assert!(name.write_lower(&mut arrayvec::ArrayString::<15>::new()).is_some());
        assert!(name.write_lower(&mut arrayvec::ArrayString::<14>::new()).is_none());
    }
}
