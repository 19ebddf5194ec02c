//! The signals that steer a live run, waited for by a thread of their own.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::super::exit::Exit;
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
}

/// The signals listened for.
struct Ears {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    user: Signal,
}

impl Signals {
    /// Listens from now on: none is missed once this returns. SIGHUP opens `output` anew.
    ///
    /// # Errors
    /// When no thread can be started or the signals cannot be had.
    pub(super) fn listen(output: Option<Reopened>) -> io::Result<Self> {
        let asked = Arc::<Asked>::default();
        let told = Arc::clone(&asked);
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
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(heed(ears, &told, output.as_ref())))?;
        Ok(Self { asked })
    }

    /// Whether to stop.
    pub(super) fn stop(&self) -> bool {
        self.asked.stop.load(Ordering::Relaxed)
    }

    /// Whether the summary so far was asked for since the last call.
    pub(super) fn take_summary_wanted(&self) -> bool {
        self.asked.summary.swap(false, Ordering::Relaxed)
    }
}

/// Heeds signals for as long as the process lives.
async fn heed(mut ears: Ears, asked: &Asked, output: Option<&Reopened>) {
    loop {
        tokio::select! {
            _ = ears.interrupt.recv() => stop(asked),
            _ = ears.terminate.recv() => stop(asked),
            _ = ears.hang_up.recv() => {
                if let Some(output) = output {
                    output.reopen();
                }
            }
            _ = ears.user.recv() => asked.summary.store(true, Ordering::Relaxed),
        }
    }
}

fn stop(asked: &Asked) {
    if asked.stop.swap(true, Ordering::Relaxed) {
        process::exit(Exit::Interrupted.status().into());
    }
}
