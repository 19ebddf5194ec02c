//! Many texts, looked for at once and whatever the case of their letters.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError, FindOverlappingIter, MatchKind};

/// So many bytes are looked through before a table of transitions is built, in bytes. It looks through a text in half the
/// time, but takes ten times as long to build: more than most captures take to read (measured; where it begins to pay [E]).
const WORTH_A_TABLE: usize = 4 << 20;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Needles {
    texts: Vec<Vec<u8>>,
    automaton: AhoCorasick,
    /// Bytes looked through so far.
    searched: AtomicUsize,
    /// The table, once it is worth it; none if it would be too large.
    table: OnceLock<Option<AhoCorasick>>,
}

impl Needles {
    /// To look for `texts`.
    ///
    /// # Errors
    /// They are too many, or too long.
    pub(super) fn new(texts: Vec<Vec<u8>>) -> Result<Self, BuildError> {
        Ok(Self {
            automaton: build(&texts, AhoCorasickKind::ContiguousNFA)?,
            texts,
            searched: AtomicUsize::new(0),
            table: OnceLock::new(),
        })
    }

    /// Every place in `text` where one of them stands, overlapping or not; patterns are numbered as they were given.
    pub(super) fn find<'n, 't>(&'n self, text: &'t [u8]) -> FindOverlappingIter<'n, 't> {
        self.automaton_for(text.len()).find_overlapping_iter(text)
    }

    fn automaton_for(&self, bytes: usize) -> &AhoCorasick {
        let searched = self.searched.fetch_add(bytes, Ordering::Relaxed);
        if searched < WORTH_A_TABLE {
            return &self.automaton;
        }
        let build = || build(&self.texts, AhoCorasickKind::DFA).ok();
        self.table.get_or_init(build).as_ref().unwrap_or(&self.automaton)
    }
}

fn build(texts: &[Vec<u8>], kind: AhoCorasickKind) -> Result<AhoCorasick, BuildError> {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .kind(Some(kind))
        .build(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_finds_what_the_automaton_finds() {
        let texts = ["block", "locked", "Blocked by", "заблокирован", "ed"];
        let needles = Needles::new(texts.iter().map(|text| text.as_bytes().to_vec()).collect()).unwrap();
        let text = "This page is BLOCKED by order; доступ заблокирован".as_bytes();
        let found = || {
            needles
                .find(text)
                .map(|found| (found.pattern(), found.span()))
                .collect::<Vec<_>>()
        };
        let before = found();
        assert_eq!(before.len(), 5, "{before:?}");
        assert!(needles.table.get().is_none());
        let long = vec![b'.'; WORTH_A_TABLE];
        assert_eq!(needles.find(&long).count(), 0);
        assert_eq!(found(), before);
        assert!(needles.table.get().is_some());
    }
}
