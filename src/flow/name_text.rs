//! A name someone asked for, kept small: millions of flows keep one.

use std::fmt;
use std::ops::Deref;

use arrayvec::ArrayString;

use crate::payload::dns_name::Name;

/// The longest name of the DNS in text, in octets (RFC 1035 section 2.3.4: 255 octets on the wire).
pub const LONGEST: usize = 253;

/// Names up to this many octets lie in place, longer ones are allocated; with it a [`NameText`] is 56 bytes.
const SHORT: usize = 48;

/// A name in text, of at most [`LONGEST`] octets.
#[derive(Clone, Debug)]
pub struct NameText(Text);

#[derive(Clone, Debug)]
enum Text {
    Short(ArrayString<SHORT>),
    Long(Box<str>),
}

impl Default for NameText {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for NameText {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for NameText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl NameText {
    /// The empty name.
    #[must_use]
    pub const fn new() -> Self {
        Self(Text::Short(ArrayString::new_const()))
    }

    /// `name` in lower case, cut to what a name can be; characters that cannot stand in a name are kept for the reader.
    #[must_use]
    pub fn lower(name: &str) -> Self {
        // Nearly all are short and ASCII.
        if name.is_ascii()
            && let Ok(mut text) = ArrayString::from(name)
        {
            text.make_ascii_lowercase();
            return Self(Text::Short(text));
        }
        let mut text = ArrayString::<LONGEST>::new();
        for character in name.chars().flat_map(char::to_lowercase) {
            if text.try_push(character).is_err() {
                break;
            }
        }
        Self::of(&text)
    }

    /// A name of the DNS in lower case; octets that are no text are escaped.
    #[must_use]
    pub fn of_dns(name: Name<'_>) -> Self {
        let mut short = ArrayString::new();
        if name.write_lower(&mut short).is_some() {
            return Self(Text::Short(short));
        }
        let mut text = ArrayString::<LONGEST>::new();
        _ = name.write_lower(&mut text);
        Self::of(&text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Short(text) => text,
            Text::Long(text) => text,
        }
    }

    fn of(text: &str) -> Self {
        Self(ArrayString::from(text).map_or_else(|_| Text::Long(text.into()), Text::Short))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_and_long_ones_are_kept_alike() {
        for len in [0, 1, SHORT - 1, SHORT, SHORT + 1, LONGEST, LONGEST + 1] {
            let name = "A.".repeat(len).split_at(len).0.to_owned();
            let kept = name.to_lowercase();
            assert_eq!(*NameText::lower(&name), kept[..len.min(LONGEST)], "{len}");
        }
        assert_eq!(&*NameText::lower("BÜCHER.example"), "bücher.example");
        assert_eq!(size_of::<NameText>(), 56);
    }

    #[test]
    fn a_name_is_not_cut_within_a_character() {
        let name = "ü".repeat(LONGEST);
        assert_eq!(NameText::lower(&name).len(), LONGEST - 1);
    }
}
