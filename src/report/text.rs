//! For a person: one block a finding that needs no manual, then what was looked at and what could not be.
//!
//! A block names the verdict, what was done and to which name; says in a sentence what that means and how sure we are;
//! and gives what it takes to check it: stage, box, packets, evidence with its weights, a `tshark` line. It speaks of
//! behaviour that is compatible with filtering and accuses nobody. What came from the wire is escaped. Colours are
//! always written; whoever does not want them wraps the writer in `anstream`.

mod finding;
mod page;
mod summary;

use std::io::{self, Write};

use self::page::Page;
use super::sink::{Reported, Sink};
use crate::finding::summary::Summary;

/// What comes after the findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The summary.
    Summary,
    /// Nothing.
    Nothing,
}

/// Writes text, a block at a time.
#[derive(Debug)]
pub struct Text<W> {
    out: W,
    width: usize,
    closing: Closing,
}

impl<W: Write> Text<W> {
    /// Writes to `out` in lines of up to `width` characters (what cannot be broken may be longer).
    pub const fn new(out: W, width: usize, closing: Closing) -> Self {
        Self { out, width, closing }
    }

    /// The writer, with everything in it.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn put(&mut self, page: &Page) -> io::Result<()> {
        self.out.write_all(page.text().as_bytes())?;
        self.out.flush()
    }
}

impl<W: Write> Sink for Text<W> {
    /// Writes a block; a finding without a verdict is none.
    fn finding(&mut self, reported: &Reported<'_>) -> io::Result<()> {
        let Some(verdict) = reported.judgement.verdict else {
            return Ok(());
        };
        let mut page = Page::new(self.width);
        finding::block(&mut page, reported, verdict);
        self.put(&page)
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        match self.closing {
            Closing::Nothing => self.out.flush(),
            Closing::Summary => {
                let mut page = Page::new(self.width);
                summary::closing(&mut page, summary);
                self.put(&page)
            }
        }
    }
}
