//! How a process ends.

use std::process::ExitCode;

/// The exit statuses, as `--help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// It ran, whatever was found.
    Ran,
    /// With `--fail-on`: something at or above the verdict was found.
    Found,
    /// The arguments make no sense (clap's own status for it as well).
    Usage,
    /// An input could not be read (with `--strict`: to its end), or the output not be written.
    Unreadable,
    /// Stopped by a signal, after reporting what was known: 128 and the number of SIGINT, as shells have it.
    Interrupted,
}

impl Exit {
    /// The status the shell sees.
    pub(super) const fn status(self) -> u8 {
        match self {
            Self::Ran => 0,
            Self::Found => 1,
            Self::Usage => 2,
            Self::Unreadable => 3,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.status())
    }
}
