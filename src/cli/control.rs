//! Watches a run: signals stop it in order, the progress bar follows it.
//!
//! The first SIGINT or SIGTERM lets the run conclude and report what is known; the second ends the process at once.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use blockscope::capture::source::Progress;
use blockscope::engine::run::Control;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::Exit;
use super::progress::Bar;

/// The user's hold on a run.
#[derive(Debug)]
pub(super) struct Watch {
    bar: Bar,
    stop: Arc<AtomicBool>,
}

impl Watch {
    /// Watches with `bar`, and listens for signals from now on.
    ///
    /// # Errors
    /// When no thread can be started or the signals cannot be had.
    pub(super) fn start(bar: Bar) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if let Err(error) = listen(&asked) {
                tracing::debug!("signals end the process without a report: {error}");
            }
        })?;
        Ok(Self { bar, stop })
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish();
    }
}

impl Control for Watch {
    fn progress(&mut self, progress: Progress, frames: u64) {
        self.bar.update(progress, frames);
    }

    fn stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Waits for signals for as long as the process lives.
fn listen(asked: &AtomicBool) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tracing::debug!("listening for signals");
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if asked.swap(true, Ordering::Relaxed) {
                process::exit(Exit::Interrupted.status().into());
            }
            tracing::warn!("stopping; what has been found so far follows (once more to leave at once)");
        }
    })
}
