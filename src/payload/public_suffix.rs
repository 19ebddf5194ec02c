//! Which part of a name somebody registered, by the public suffix list.
//!
//! The list is some ten thousand small functions that are compiled anew into every unit of code that calls one of them, and
//! were a third of all that was compiled. They are called here and nowhere else.

/// The registrable domain: `example.co.uk` of `www.example.co.uk`; `None` of a public suffix itself. Names are in lower
/// case, with or without the dot at their end.
#[inline(never)]
#[must_use]
pub fn registrable(name: &str) -> Option<&str> {
    psl::domain_str(name)
}

/// Whether the name ends in a suffix that is in the list.
#[inline(never)]
#[must_use]
pub fn has_known_suffix(name: &str) -> bool {
    psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_of_one_and_of_several_labels_are_known() {
        assert_eq!(registrable("a.b.example.com"), Some("example.com"));
        assert_eq!(registrable("www.example.co.uk"), Some("example.co.uk"));
        assert_eq!(registrable("co.uk"), None);
        assert!(has_known_suffix("example.com"));
        assert!(!has_known_suffix("example.nowhere-at-all"));
    }
}
