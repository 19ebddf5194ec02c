//! The files of `-w`: one, or several that follow each other by size or age, of which the newest are kept.
//!
//! With `--rotate-size` or `--rotate-every` they are numbered as dumpcap numbers its own: `evidence.pcapng` becomes
//! `evidence_00001_20261121135341.pcapng` and so on, with the time of the first packet, UTC. Numbering goes on where an
//! earlier run left off, and `--keep` counts its files too.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use blockscope::capture::pcapng_writer::PcapngWriter;
use blockscope::engine::evidence::Takes;
use blockscope::packet::frame::Frame;
use blockscope::report::escape::escaped_path;
use blockscope::time::Timestamp;

use super::confine::directory;
use super::reopen::hand_over;

/// When another file is begun, and how many stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rotation {
    /// Not larger than so many bytes, about.
    pub(super) size: Option<u64>,
    /// Not older than this, in packet time.
    pub(super) age: Option<Duration>,
    /// No more than so many files.
    pub(super) keep: Option<usize>,
}

impl Rotation {
    const fn rotates(self) -> bool {
        self.size.is_some() || self.age.is_some()
    }
}

/// The files, one of which is open once there is something to write.
#[derive(Debug)]
pub(super) struct EvidenceFiles {
    path: PathBuf,
    rotation: Rotation,
    names: Vec<String>,
    writer: PcapngWriter,
    open: Option<Open>,
    number: u32,
    block: Vec<u8>,
    /// Whether the last thing tried failed: it is told once.
    failing: bool,
    failed: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// None for a device or a pipe, which cannot be cut back.
    written: u64,
    regular: bool,
    since: Timestamp,
}

impl EvidenceFiles {
    /// Files named after `path`, of packets of `names` (by the run's file number). Without rotation the file is made at
    /// once and belongs to `owner` if there is one; with it, the directory must be there.
    ///
    /// # Errors
    /// Something is in the file already, or it cannot be made.
    pub(super) fn new(
        path: &Path,
        rotation: Rotation,
        names: Vec<String>,
        owner: Option<(u32, u32)>,
    ) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            bail!("-w writes to files; standard output is for findings");
        }
        let mut files = Self {
            path: path.to_owned(),
            rotation,
            names,
            writer: PcapngWriter::default(),
            open: None,
            number: 0,
            block: Vec::new(),
            failing: false,
            failed: false,
        };
        if rotation.rotates() {
            let listed = files.numbered().with_context(|| told(path))?;
            files.number = listed.iter().map(|(number, _)| *number).max().unwrap_or(0);
            return Ok(files);
        }
        match path.metadata() {
            Ok(there) if there.is_file() && there.len() > 0 => bail!(
                "{} is there already, and evidence of an earlier run is not overwritten: give another name, or \
                 --rotate-size or --rotate-every, which number the files",
                escaped_path(path)
            ),
            Ok(_) | Err(_) => {}
        }
        files.begin(Timestamp::EPOCH).with_context(|| told(path))?;
        if let Some(open) = files.open.as_ref().filter(|open| open.regular) {
            hand_over(&open.file, path, owner);
        }
        Ok(files)
    }

    /// Whether something could not be kept.
    pub(super) const fn failed(&self) -> bool {
        self.failed
    }

    fn put(&mut self, frame: &Frame<'_>, comment: Option<&str>) -> io::Result<()> {
        if let Some(open) = &self.open
            && self.rotation.rotates()
            && open.written > 0
        {
            let full = self.rotation.size.is_some_and(|most| open.written >= most);
            let old = self.rotation.age.is_some_and(|most| frame.at.since(open.since) >= most);
            if full || old {
                self.open = None;
            }
        }
        if self.open.is_none() {
            self.begin(frame.at)?;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let name = self.names.get(frame.number.file() as usize).map_or("", String::as_str);
        let before = self.writer.clone();
        self.block.clear();
        self.writer.frame(&mut self.block, frame, name, comment);
        if let Err(error) = append(open, &self.block) {
            // An interface that was not described must be described the next time.
            self.writer = before;
            return Err(error);
        }
        Ok(())
    }

    /// Begins the next file.
    fn begin(&mut self, at: Timestamp) -> io::Result<()> {
        let path = if self.rotation.rotates() {
            self.number += 1;
            self.name(self.number, at)
        } else {
            self.path.clone()
        };
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
        let regular = file.metadata()?.is_file();
        self.block.clear();
        self.writer.begin(&mut self.block);
        let mut open = Open {
            file,
            written: 0,
            regular,
            since: at,
        };
        append(&mut open, &self.block)?;
        self.open = Some(open);
        self.forget_oldest()
    }

    fn name(&self, number: u32, at: Timestamp) -> PathBuf {
        let digits: String = at.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
        let mut name = OsString::from(self.path.file_stem().unwrap_or_default());
        name.push(format!("_{number:05}_{digits}"));
        if let Some(extension) = self.path.extension() {
            name.push(".");
            name.push(extension);
        }
        self.path.with_file_name(name)
    }

    /// The files there are, by number.
    fn numbered(&self) -> io::Result<Vec<(u32, PathBuf)>> {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut found = Vec::new();
        for entry in fs::read_dir(directory(&self.path))? {
            let path = entry?.path();
            if path.extension() != self.path.extension() {
                continue;
            }
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let number = name
                .strip_prefix(&stem)
                .and_then(|rest| rest.strip_prefix('_'))
                .and_then(|rest| rest.split_once('_'))
                .filter(|(number, time)| number.len() >= 5 && time.len() == 14)
                .filter(|(_, time)| time.bytes().all(|digit| digit.is_ascii_digit()))
                .and_then(|(number, _)| number.parse().ok());
            if let Some(number) = number {
                found.push((number, path));
            }
        }
        found.sort();
        Ok(found)
    }

    fn forget_oldest(&self) -> io::Result<()> {
        let Some(keep) = self.rotation.keep.filter(|_| self.rotation.rotates()) else {
            return Ok(());
        };
        let files = self.numbered()?;
        for (_, path) in files.iter().take(files.len().saturating_sub(keep)) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

impl Takes for EvidenceFiles {
    /// Writes it; the first failure of a row is told, and the next frame is tried again.
    fn take(&mut self, frame: &Frame<'_>, comment: Option<&str>) -> io::Result<()> {
        let outcome = self.put(frame, comment);
        match &outcome {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                tracing::error!(
                    "{}: {error}; packets of findings are lost until it can be written",
                    told(&self.path)
                );
                (self.failing, self.failed) = (true, true);
            }
            Err(_) => {}
        }
        outcome
    }
}

/// Appends a block, whole or not at all.
fn append(open: &mut Open, block: &[u8]) -> io::Result<()> {
    match open.file.write_all(block) {
        Ok(()) => {
            open.written += block.len() as u64;
            Ok(())
        }
        Err(error) => {
            if open.regular {
                // The first error is the one to tell.
                let cut = open.file.set_len(open.written);
                let _ = cut.and_then(|()| io::Seek::seek(&mut open.file, io::SeekFrom::End(0)));
            }
            Err(error)
        }
    }
}

fn told(path: &Path) -> String {
    format!("evidence cannot be written to {}", escaped_path(path))
}

#[cfg(test)]
mod tests {
    use blockscope::packet::frame::{FrameNumber, LinkType};

    use super::*;

    fn frame(second: u64, bytes: &[u8]) -> Frame<'_> {
        Frame {
            number: FrameNumber::new(0, second),
            at: Timestamp::from_nanos(1_767_323_045_000_000_000 + second * 1_000_000_000),
            bytes,
            wire_len: bytes.len() as u32,
            link: LinkType::ETHERNET,
        }
    }

    fn listed(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_follow_each_other_and_the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.pcapng");
        fs::write(dir.path().join("e_other.pcapng"), "not ours").unwrap();
        let rotation = Rotation {
            size: Some(1000),
            age: Some(Duration::from_secs(60)),
            keep: Some(2),
        };
        let names = || vec!["eth0".to_owned()];
        let mut files = EvidenceFiles::new(&path, rotation, names(), None).unwrap();
        for second in [0, 59, 60] {
            files.take(&frame(second, &[0; 100]), None).unwrap();
        }
        let of_age = [
            "e_00001_20260102030405.pcapng",
            "e_00002_20260102030505.pcapng",
            "e_other.pcapng",
        ];
        assert_eq!(listed(dir.path()), of_age);
        // Another run goes on counting, and removes what is too old.
        let mut files = EvidenceFiles::new(&path, rotation, names(), None).unwrap();
        for second in [100, 101, 102] {
            files.take(&frame(second, &[0; 900]), None).unwrap();
        }
        let of_size = [
            "e_00004_20260102030546.pcapng",
            "e_00005_20260102030547.pcapng",
            "e_other.pcapng",
        ];
        assert_eq!(listed(dir.path()), of_size);
    }

    #[test]
    fn without_rotation_nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.pcapng");
        let mut files = EvidenceFiles::new(&path, Rotation::default(), Vec::new(), None).unwrap();
        files.take(&frame(0, b"x"), None).unwrap();
        for (path, told) in [(path.as_path(), "is not overwritten"), (Path::new("-"), "for findings")] {
            let error = EvidenceFiles::new(path, Rotation::default(), Vec::new(), None).unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
    }
}
