//! Processes: ended by their id when dropped, and waited for only so long.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The longest anything is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running process.
#[derive(Debug)]
pub(crate) struct Running {
    what: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it; what it says goes to a file called `what` in `dir`.
    pub(crate) fn start(what: &str, dir: &Path, command: &mut Command) -> Result<Self, String> {
        let log = dir.join(format!("{what}.log"));
        let file = File::create(&log).map_err(|error| told(what, error))?;
        let both = file.try_clone().map_err(|error| told(what, error))?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(file)
            .stderr(both)
            .spawn()
            .map_err(|error| told(what, error))?;
        Ok(Self {
            what: what.to_owned(),
            child,
            log,
        })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = File::open(&self.log) {
            // What is no text is left out; nobody looks for it.
            let _ = file.read_to_string(&mut text);
        }
        text
    }

    /// Waits until it has said this.
    pub(crate) fn wait_to_hear(&mut self, words: &str) -> Result<(), String> {
        let mut gone = false;
        let waited = wait_until(&format!("{} says {words:?}", self.what), || {
            gone = matches!(self.child.try_wait(), Ok(Some(_)));
            gone || self.said().contains(words)
        });
        if gone && !self.said().contains(words) {
            return Err(format!("{} ended early: {}", self.what, self.said()));
        }
        waited.map_err(|problem| format!("{problem}; it said: {}", self.said()))
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) -> Result<(), String> {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(_) | Err(_) => Err(format!("{} cannot be sent {name}", self.what)),
        }
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Closes its standard input.
    pub(crate) fn end_input(&mut self) {
        self.child.stdin = None;
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, patience: Duration) -> Result<ExitStatus, String> {
        let until = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(10)),
                Ok(None) => return Err(format!("{} does not end; it said: {}", self.what, self.said())),
                Err(error) => return Err(told(&self.what, error)),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn told(what: &str, error: impl Display) -> String {
    format!("{what}: {error}")
}

/// Waits until something is so, at the most [`PATIENCE`].
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), String> {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > until {
            return Err(format!("never: {what}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
