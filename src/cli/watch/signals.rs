//! The signals that steer a live run, waited for by a thread of their own.

use std::io;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use blockscope::detect::packs::facts::Facts;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::super::exit::Exit;
use super::super::fingerprints;
use super::reopen::Reopened;

/// What was asked for by signals.
#[derive(Debug)]
pub(super) struct Signals {
    asked: Arc<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    stop: AtomicBool,
    summary: AtomicBool,
    facts: Mutex<Option<Facts>>,
}

/// What SIGHUP renews.
#[derive(Debug, Default)]
pub(super) struct Renewed {
    /// A file that is opened anew.
    pub(super) output: Option<Reopened>,
    /// Lists that are read anew.
    pub(super) fingerprints: Vec<PathBuf>,
}

/// Signals that are caught, and not heeded yet.
#[derive(Debug)]
pub(super) struct Caught {
    runtime: Runtime,
    ears: Ears,
}

/// The signals listened for.
#[derive(Debug)]
struct Ears {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    user: Signal,
}

impl Caught {
    /// Catches signals from now on: none is missed once this returns. Starts no thread.
    ///
    /// # Errors
    /// When they cannot be had.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let ears = {
            let _entered = runtime.enter();
            Ears {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hang_up: signal(SignalKind::hangup())?,
                user: signal(SignalKind::user_defined1())?,
            }
        };
        Ok(Self { runtime, ears })
    }

    /// Heeds them, on a thread of their own. SIGHUP renews `renewed`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn heed(self, renewed: Renewed) -> io::Result<Signals> {
        let asked = Arc::<Asked>::default();
        let told = Arc::clone(&asked);
        let Self { runtime, ears } = self;
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(heed(ears, &told, &renewed)))?;
        Ok(Signals { asked })
    }
}

impl Signals {
    /// Whether to stop.
    pub(super) fn stop(&self) -> bool {
        self.asked.stop.load(Ordering::Relaxed)
    }

    /// Whether the summary so far was asked for since the last call.
    pub(super) fn take_summary_wanted(&self) -> bool {
        self.asked.summary.swap(false, Ordering::Relaxed)
    }

    /// What the lists say, if they were read anew since the last call.
    pub(super) fn take_facts(&self) -> Option<Facts> {
        self.asked.facts.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Heeds signals for as long as the process lives.
async fn heed(mut ears: Ears, asked: &Asked, renewed: &Renewed) {
    loop {
        tokio::select! {
            _ = ears.interrupt.recv() => stop(asked),
            _ = ears.terminate.recv() => stop(asked),
            _ = ears.hang_up.recv() => renew(asked, renewed),
            _ = ears.user.recv() => asked.summary.store(true, Ordering::Relaxed),
        }
    }
}

fn stop(asked: &Asked) {
    if asked.stop.swap(true, Ordering::Relaxed) {
        process::exit(Exit::Interrupted.status().into());
    }
}

fn renew(asked: &Asked, renewed: &Renewed) {
    if let Some(output) = &renewed.output {
        output.reopen();
    }
    if renewed.fingerprints.is_empty() {
        return;
    }
    match fingerprints::facts(&renewed.fingerprints) {
        Ok(facts) => {
            tracing::info!("the lists of fingerprints were read anew");
            *asked.facts.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts);
        }
        Err(error) => tracing::warn!("the lists of fingerprints stay as they were: {error:#}"),
    }
}
