//! `read --state`: one capture after another, each of which is done with for good once it is in the state.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use blockscope::capture::capture_set::CaptureSet;
use blockscope::engine::journal::{Entry, Identity, Journal};
use blockscope::engine::part::Part;
use blockscope::engine::run::{Control, Outcome, Settings, judge};
use blockscope::report::escape::escaped_path;
use sha2::{Digest as _, Sha256};

use super::exit::Exit;
use super::input;

/// What a reading in parts is made with.
pub(super) struct Reading<'a> {
    /// The state.
    pub(super) state: &'a Path,
    /// What the user named.
    pub(super) inputs: &'a [PathBuf],
    /// The captures there.
    pub(super) captures: CaptureSet,
    /// What of them is judged.
    pub(super) filter: Option<&'a str>,
    /// The lists of fingerprints.
    pub(super) fingerprints: &'a [PathBuf],
    /// How they are judged.
    pub(super) settings: &'a Settings,
}

impl Reading<'_> {
    /// Judges what the state does not hold yet. Gives everything there is to tell, also that of earlier runs.
    ///
    /// # Errors
    /// The state is not of this reading, or cannot be kept.
    pub(super) fn judge(
        mut self,
        control: &mut dyn Control,
        outcome: &mut Outcome,
    ) -> Result<Part, (Exit, anyhow::Error)> {
        let usage = |error| (Exit::Usage, error);
        let name = || format!("state {}", escaped_path(self.state));
        self.refuse_what_cannot_be_read_again().map_err(usage)?;
        let settings = self.digest().map_err(usage)?;
        let (mut journal, held) = Journal::open(self.state, settings).with_context(name).map_err(usage)?;
        let mut held = held.into_iter();
        let mut whole = Part::default();
        while let Some((path, alone)) = self.captures.take_first(whole.files().len() as u32) {
            let Some(identity) = path.as_deref().and_then(Identity::of) else {
                // It says itself why it cannot be read, now and the next time.
                let mut source = input::filtered(alone, self.filter).map_err(usage)?;
                judge(&mut *source, self.settings, control, outcome);
                continue;
            };
            if let Some(entry) = held.next() {
                self.same(&entry.capture, &identity).map_err(usage)?;
                if entry.part.files().is_empty() {
                    let mut source = input::filtered(alone, self.filter).map_err(usage)?;
                    let part = judge(&mut *source, self.settings, control, outcome);
                    if !part.files().is_empty() {
                        return Err(usage(self.changed(&identity)));
                    }
                }
                whole.append(entry.part);
                continue;
            }
            let mut source = input::filtered(alone, self.filter).map_err(usage)?;
            let part = judge(&mut *source, self.settings, control, outcome);
            if outcome.summary.interrupted {
                whole.append(part);
                return Ok(whole);
            }
            let entry = Entry {
                capture: identity,
                part,
            };
            journal
                .append(&entry)
                .with_context(name)
                .map_err(|error| (Exit::Unreadable, error))?;
            whole.append(entry.part);
        }
        if let Some(entry) = held.next() {
            return Err(usage(self.other(&entry.capture.path)));
        }
        Ok(whole)
    }

    fn refuse_what_cannot_be_read_again(&self) -> anyhow::Result<()> {
        if let Some(path) = self.inputs.iter().find(|path| input::may_stall(path)) {
            bail!("{} cannot be read again: --state needs files", escaped_path(path));
        }
        Ok(())
    }

    fn same(&self, held: &Identity, now: &Identity) -> anyhow::Result<()> {
        if held.path != now.path {
            return Err(self.other(&held.path));
        }
        if held != now {
            return Err(self.changed(now));
        }
        Ok(())
    }

    fn changed(&self, now: &Identity) -> anyhow::Error {
        anyhow!(
            "{} has changed since it was read for the state {}: give --state another file to begin anew",
            escaped_path(&now.path),
            escaped_path(self.state)
        )
    }

    fn other(&self, held: &Path) -> anyhow::Error {
        anyhow!(
            "the state {} is of other captures: {} comes next there. Captures may only be added behind those it holds; \
             give --state another file to begin anew",
            escaped_path(self.state),
            escaped_path(held)
        )
    }

    /// A digest of all that decides what is found.
    fn digest(&self) -> anyhow::Result<[u8; 32]> {
        let mut digest = Sha256::new();
        let mut add = |part: &[u8]| {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        };
        add(env!("CARGO_PKG_VERSION").as_bytes());
        add(self.filter.unwrap_or_default().as_bytes());
        add(&(self.settings.flows as u64).to_le_bytes());
        for path in self.fingerprints {
            add(&std::fs::read(path).with_context(|| escaped_path(path))?);
        }
        Ok(digest.finalize().into())
    }
}
