//! Why a capture cannot be read at all.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// An input that cannot be used. `Display` says what to do about it.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The file cannot be opened or read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file's name as given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a capture in a known format.
    #[error("{path}: not a capture: {what} (pcap and pcapng are read, also compressed with gzip, zstd, lz4 or xz)", path = path.display())]
    Foreign {
        /// The file's name as given.
        path: PathBuf,
        /// What its first bytes look like instead.
        what: String,
    },
    /// A directory in which there is nothing to read.
    #[error("{path}: a directory without any capture (pcap and pcapng are read, also compressed with gzip, zstd, lz4 or xz)", path = path.display())]
    NoCaptures {
        /// The directory's name as given.
        path: PathBuf,
    },
    /// An interface that cannot be captured from.
    #[error("{name}: {why}")]
    Interface {
        /// The interface's name as given.
        name: String,
        /// What libpcap said.
        why: String,
    },
    /// An interface that this process may not capture from.
    #[error("{name}: capturing needs the capability cap_net_raw, which this process does not have")]
    NotAllowed {
        /// The interface's name as given.
        name: String,
    },
    /// An interface whose packets the kernel cannot share out among several sockets.
    #[error("{name}: its packets cannot be shared out among several sockets: {why}")]
    NotShared {
        /// The interface's name as given.
        name: String,
        /// What the kernel said.
        why: io::Error,
    },
    /// A capture filter that does not compile, or no compiler for it.
    #[error("filter \"{expression}\": {why}")]
    Filter {
        /// The expression as given.
        expression: String,
        /// What the compiler said.
        why: String,
    },
}
