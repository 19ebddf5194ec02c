//! Capture filters: pcap-filter(7) expressions, compiled by libpcap, applied to any source.
//!
//! An expression is compiled once for every link type that occurs. Frames that do not match are dropped before anything
//! looks at them and counted; those that stay keep the numbers they have in their file.
//!
//! Limit: libpcap's `len`, `greater` and `less` see the captured length, which in a snapped capture is less than the
//! length on the wire.

use std::fmt;

use pcap::{BpfProgram, Capture, Linktype};

use super::error::CaptureError;
use super::source::{FileNote, Progress, RecordBatch, Source, Supply};
use crate::packet::frame::LinkType;

/// What to do about a missing libpcap.
const NO_LIBPCAP: &str = "libpcap is not installed: apt install libpcap0.8";

/// Link types of which an expression must fit at least one to make sense: wired, raw IP, Linux cooked, wireless
/// (LINKTYPE_IEEE802_11, LINKTYPE_IEEE802_11_RADIOTAP), ATM (LINKTYPE_SUNATM) and MTP2.
const USUAL_LINKS: [LinkType; 9] = [
    LinkType::ETHERNET,
    LinkType::RAW,
    LinkType::LINUX_SLL,
    LinkType::LINUX_SLL2,
    LinkType(105),
    LinkType(127),
    LinkType(123),
    LinkType(140),
    LinkType::PPP,
];

/// LINKTYPE numbers whose DLT number, which libpcap's compiler wants, is another on Linux (pcap/dlt.h): raw IP as two
/// systems number it, LINKTYPE_ATM_RFC1483, LINKTYPE_LINUX_ATM_CLIP.
const RENUMBERED: [(LinkType, i32); 4] = [
    (LinkType::RAW, 12),
    (LinkType::RAW_OPENBSD, 12),
    (LinkType(100), 11),
    (LinkType(106), 19),
];

/// After this many frames without a match the caller is let in, to show progress.
const FRAMES_BEFORE_QUIET: u64 = 1 << 20;

/// A compiled capture filter.
pub struct Filter {
    expression: String,
    /// One for each link type that occurred, in the order they did; none where the expression does not fit.
    programs: Vec<(LinkType, Option<BpfProgram>)>,
}

impl Filter {
    /// A filter from a pcap-filter(7) expression.
    ///
    /// # Errors
    /// libpcap is not installed, or the expression compiles for none of the usual link types.
    pub fn new(expression: &str) -> Result<Self, CaptureError> {
        let refused = |why: String| CaptureError::Filter {
            expression: expression.to_owned(),
            why,
        };
        if !libpcap_is_there() {
            return Err(refused(NO_LIBPCAP.to_owned()));
        }
        let mut first_refusal = None;
        for link in USUAL_LINKS {
            match compile(expression, link) {
                Ok(_) => {
                    return Ok(Self {
                        expression: expression.to_owned(),
                        programs: Vec::new(),
                    });
                }
                Err(why) => first_refusal = first_refusal.or(Some(why)),
            }
        }
        Err(refused(first_refusal.unwrap_or_default()))
    }

    /// Whether a frame of link type `link` matches. A link type for which the expression does not compile matches
    /// nothing; the first time, a warning says so.
    pub fn matches(&mut self, link: LinkType, frame: &[u8]) -> bool {
        let known = self.programs.iter().position(|(of, _)| *of == link);
        let index = known.unwrap_or_else(|| {
            let program = compile(&self.expression, link)
                .inspect_err(|why| {
                    tracing::warn!(
                        link_type = link.0,
                        "the filter \"{}\" fits no frame of this link type: {why}",
                        self.expression
                    );
                })
                .ok();
            self.programs.push((link, program));
            self.programs.len() - 1
        });
        self.programs[index]
            .1
            .as_ref()
            .is_some_and(|program| program.filter(frame))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.expression).finish()
    }
}

/// A source of which a filter lets through only what matches.
#[derive(Debug)]
pub struct Filtered<S> {
    source: S,
    filter: Filter,
    /// The source's, with what was filtered.
    notes: Vec<FileNote>,
}

impl<S: Source> Filtered<S> {
    /// Puts `filter` before `source`.
    pub const fn new(source: S, filter: Filter) -> Self {
        Self {
            source,
            filter,
            notes: Vec::new(),
        }
    }

    fn refresh_notes(&mut self) {
        let files = self.source.files();
        // Notes before the last one known are final.
        let first = self.notes.len().saturating_sub(1);
        for (index, file) in files.iter().enumerate().skip(first) {
            if let Some(note) = self.notes.get_mut(index) {
                note.frames = file.frames;
                note.damage.clone_from(&file.damage);
            } else {
                self.notes.push(file.clone());
            }
        }
    }
}

impl<S: Source> Source for Filtered<S> {
    fn supply(&mut self, batch: &mut RecordBatch) -> Result<Supply, CaptureError> {
        let mut dropped = 0;
        while dropped < FRAMES_BEFORE_QUIET {
            let supply = self.source.supply(batch);
            self.refresh_notes();
            match supply? {
                Supply::Records => {}
                other => return Ok(other),
            }
            let RecordBatch { bytes, records } = &mut *batch;
            let before = records.len();
            records.retain(|record| {
                let frame = &bytes[record.offset..record.offset + record.captured as usize];
                self.filter.matches(record.link, frame)
            });
            let filtered = (before - records.len()) as u64;
            if let Some(note) = self.notes.last_mut() {
                note.filtered += filtered;
            }
            if !records.is_empty() {
                return Ok(Supply::Records);
            }
            dropped += filtered;
        }
        Ok(Supply::Quiet)
    }

    fn progress(&self) -> Progress {
        self.source.progress()
    }

    fn files(&self) -> &[FileNote] {
        &self.notes
    }
}

/// Whether libpcap can be loaded. Where it cannot, the functions standing in for it know no link type.
fn libpcap_is_there() -> bool {
    Linktype::from_name("EN10MB").is_ok()
}

fn compile(expression: &str, link: LinkType) -> Result<BpfProgram, String> {
    let dlt = RENUMBERED
        .iter()
        .find(|(renumbered, _)| *renumbered == link)
        .map_or(i32::from(link.0), |(_, dlt)| *dlt);
    let refused = |error: pcap::Error| match error {
        pcap::Error::PcapError(why) => why,
        other => other.to_string(),
    };
    Capture::dead(Linktype(dlt))
        .map_err(refused)?
        .compile(expression, true)
        .map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::capture_set::CaptureSet;
    use crate::capture::sample::{Order, Pcapng};

    /// A UDP datagram over IPv4, from port 1000 to `port`.
    fn datagram(port: u16) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        bytes.extend(1000_u16.to_be_bytes());
        bytes.extend(port.to_be_bytes());
        bytes.extend([0, 8, 0, 0]);
        bytes
    }

    fn on_ethernet(port: u16) -> Vec<u8> {
        let mut bytes = vec![0; 12];
        bytes.extend([8, 0]);
        bytes.extend(datagram(port));
        bytes
    }

    /// Says so and gives nothing where libpcap is not installed.
    fn filter(expression: &str) -> Option<Filter> {
        if !libpcap_is_there() {
            eprintln!("skipped: {NO_LIBPCAP}");
            return None;
        }
        Some(Filter::new(expression).expect("a good expression"))
    }

    #[test]
    fn frames_that_do_not_match_are_dropped_counted_and_keep_their_numbers() {
        let Some(filter) = filter("udp dst port 53") else {
            return;
        };
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("capture");
        let capture = Pcapng::new(Order::Little)
            .interface(1, 0)
            .interface(101, 0)
            .interface(189, 0)
            .enhanced(0, 1, &on_ethernet(53))
            .enhanced(0, 2, &on_ethernet(80))
            .enhanced(1, 3, &datagram(53))
            .enhanced(1, 4, &datagram(80))
            .enhanced(2, 5, &[0; 60])
            .enhanced(0, 6, b"")
            .enhanced(0, 7, &on_ethernet(53));
        std::fs::write(&path, capture.bytes).expect("a write");
        let paths = [path.clone(), path];
        let mut source = Filtered::new(CaptureSet::open(&paths).with_batch_len(2), filter);
        let mut batch = RecordBatch::default();
        let mut numbers = Vec::new();
        while source.supply(&mut batch).expect("no error") == Supply::Records {
            assert!(!batch.records.is_empty());
            numbers.extend(
                batch
                    .records
                    .iter()
                    .map(|record| (record.number.file(), record.number.in_file())),
            );
        }
        assert_eq!(numbers, [(0, 1), (0, 3), (0, 7), (1, 1), (1, 3), (1, 7)]);
        let counts: Vec<_> = source.files().iter().map(|note| (note.frames, note.filtered)).collect();
        assert_eq!(counts, [(7, 4), (7, 4)]);
    }

    #[test]
    fn an_expression_for_one_link_type_alone_is_good() {
        let Some(mut filter) = filter("wlan type mgt") else {
            return;
        };
        assert!(!filter.matches(LinkType::ETHERNET, &on_ethernet(53)));
        assert!(filter.matches(LinkType(105), &[0x80; 40]));
    }

    #[test]
    fn what_cannot_be_compiled_is_refused_with_the_reason() {
        for expression in ["tcp port", "host", "no such word", "(tcp", "tcp\0"] {
            let error = Filter::new(expression).expect_err(expression);
            let CaptureError::Filter { why, .. } = error else {
                panic!("{error}")
            };
            assert!(!why.is_empty());
            assert_eq!(why == NO_LIBPCAP, !libpcap_is_there());
        }
    }
}
