//! Reads a source that may keep silent on a thread of its own, so that a run can be stopped while it waits.
//!
//! A read from a pipe cannot be called off: only what is sent here is waited for, and that not for long.

use std::io;
use std::thread;
use std::time::Duration;

use blockscope::capture::error::CaptureError;
use blockscope::capture::source::{FileNote, Progress, RecordBatch, Source, Supply};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

/// How long to wait before saying that there is nothing now.
const PATIENCE: Duration = Duration::from_millis(100);
/// How many batches may be read ahead.
const AHEAD: usize = 2;

/// A source read by another thread.
#[derive(Debug)]
pub(super) struct Feed {
    supplies: Receiver<Supplied>,
    progress: Progress,
    files: Vec<FileNote>,
}

/// What one call of [`Source::supply`] brought, and how things stood after it.
#[derive(Debug)]
struct Supplied {
    outcome: Result<Supply, CaptureError>,
    batch: RecordBatch,
    progress: Progress,
    files: Vec<FileNote>,
}

impl Feed {
    /// Reads `source` on a thread of its own, which ends with the source, or once nobody wants more of it.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(source: impl Source + Send + 'static) -> io::Result<Self> {
        let (sender, supplies) = bounded(AHEAD);
        let reader = thread::Builder::new().name("reader".to_owned());
        reader.spawn(move || feed(source, &sender))?;
        Ok(Self {
            supplies,
            progress: Progress::default(),
            files: Vec::new(),
        })
    }
}

fn feed(mut source: impl Source, sender: &Sender<Supplied>) {
    loop {
        let mut batch = RecordBatch::default();
        let outcome = source.supply(&mut batch);
        let over = matches!(outcome, Ok(Supply::End));
        let supplied = Supplied {
            outcome,
            batch,
            progress: source.progress(),
            files: source.files().to_vec(),
        };
        if sender.send(supplied).is_err() || over {
            return;
        }
    }
}

impl Source for Feed {
    fn supply(&mut self, batch: &mut RecordBatch) -> Result<Supply, CaptureError> {
        match self.supplies.recv_timeout(PATIENCE) {
            Ok(supplied) => {
                *batch = supplied.batch;
                self.progress = supplied.progress;
                self.files = supplied.files;
                supplied.outcome
            }
            Err(silence) => {
                *batch = RecordBatch::default();
                match silence {
                    RecvTimeoutError::Timeout => Ok(Supply::Quiet),
                    RecvTimeoutError::Disconnected => Ok(Supply::End),
                }
            }
        }
    }

    fn progress(&self) -> Progress {
        self.progress
    }

    fn files(&self) -> &[FileNote] {
        &self.files
    }
}

#[cfg(test)]
mod tests {
    use blockscope::capture::source::Record;
    use blockscope::packet::frame::{FrameNumber, LinkType};
    use blockscope::time::Timestamp;

    use super::*;

    /// Supplies a frame for every word it gets, and waits for the next without end.
    struct Slow {
        words: Receiver<Result<(), CaptureError>>,
        notes: Vec<FileNote>,
    }

    impl Source for Slow {
        fn supply(&mut self, batch: &mut RecordBatch) -> Result<Supply, CaptureError> {
            let Ok(word) = self.words.recv() else {
                return Ok(Supply::End);
            };
            word?;
            self.notes[0].frames += 1;
            batch.records = vec![Record {
                number: FrameNumber::new(0, self.notes[0].frames),
                at: Timestamp::EPOCH,
                offset: 0,
                captured: 0,
                wire_len: 0,
                link: LinkType::RAW,
                interface: 0,
            }];
            Ok(Supply::Records)
        }

        fn progress(&self) -> Progress {
            Progress::default()
        }

        fn files(&self) -> &[FileNote] {
            &self.notes
        }
    }

    fn slow() -> (Sender<Result<(), CaptureError>>, Feed) {
        let (sender, words) = bounded(8);
        let notes = vec![FileNote::default()];
        (sender, Feed::start(Slow { words, notes }).unwrap())
    }

    #[test]
    fn a_silent_source_is_quiet_and_holds_nobody_up() {
        let (_sender, mut feed) = slow();
        let mut batch = RecordBatch::default();
        assert_eq!(feed.supply(&mut batch).unwrap(), Supply::Quiet);
    }

    #[test]
    fn what_comes_is_passed_on_in_order_to_the_end() {
        let (sender, mut feed) = slow();
        let broken = CaptureError::Io {
            path: "x".into(),
            source: io::ErrorKind::NotFound.into(),
        };
        sender.send(Ok(())).unwrap();
        sender.send(Err(broken)).unwrap();
        sender.send(Ok(())).unwrap();
        drop(sender);
        let mut seen = Vec::new();
        loop {
            let mut batch = RecordBatch::default();
            match feed.supply(&mut batch) {
                Ok(Supply::Records) => seen.push(batch.records[0].number.in_file()),
                Ok(Supply::Quiet) => {}
                Ok(Supply::End) => break,
                Err(_) => seen.push(0),
            }
        }
        assert_eq!(seen, [1, 0, 2]);
        assert_eq!(feed.files()[0].frames, 2);
    }
}
