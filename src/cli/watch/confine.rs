//! Gives up what a watch needs no more once its sockets, outputs and ports are open.
//!
//! In this order, because each step takes away what the one before it needs:
//!
//! 1. the bounding set of capabilities, root's name and groups ([`identity`]),
//! 2. all capabilities ([`capabilities`]),
//! 3. gaining any by executing something (`no_new_privs`),
//! 4. the file system but for a few paths, and TCP ([`paths`], Landlock),
//! 5. system calls a watch does not make ([`syscalls`], seccomp).
//!
//! All of it holds for the calling thread and those it starts, so it is done before any other thread runs.

#[cfg(target_os = "linux")]
mod capabilities;
#[cfg(target_os = "linux")]
pub(super) mod identity;
#[cfg(not(target_os = "linux"))]
#[path = "confine/elsewhere.rs"]
pub(super) mod identity;
#[cfg(target_os = "linux")]
mod paths;
#[cfg(target_os = "linux")]
mod syscalls;

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use self::identity::Identity;

/// How much a watch must give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sandbox {
    /// As much as the system allows; what it does not is told
    Auto,
    /// Everything, or it is an error
    Strict,
    /// Nothing
    Off,
}

/// Whether new capture sockets can be had later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RawSockets {
    /// Those that are open are all there will be.
    GivenUp,
    /// `cap_net_raw` is kept, to open an interface that was made again.
    Kept,
}

/// What a watch goes on needing.
#[derive(Debug)]
pub(super) struct Needs {
    /// Whom to become; none to stay who it is.
    pub(super) identity: Option<Identity>,
    /// Whether sockets can be opened later.
    pub(super) raw_sockets: RawSockets,
    /// Directories files are made and removed in.
    pub(super) written: Vec<PathBuf>,
    /// Directories files are read in.
    pub(super) read: Vec<PathBuf>,
}

/// Something that could not be given up, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shortfall(pub(super) String);

/// Says that nothing could be given up.
#[cfg(not(target_os = "linux"))]
pub(super) fn confine(_: &Needs) -> Vec<Shortfall> {
    vec![Shortfall("only done on Linux".to_owned())]
}

/// Gives up everything but `needs`, and says what could not be given up.
#[cfg(target_os = "linux")]
pub(super) fn confine(needs: &Needs) -> Vec<Shortfall> {
    let mut shortfalls = Vec::new();
    let mut note = |what: &str, outcome: Result<(), String>| {
        if let Err(why) = outcome {
            shortfalls.push(Shortfall(format!("{what}: {why}")));
        }
    };
    note("threads", alone());
    note("capabilities", capabilities::close(needs.raw_sockets));
    match &needs.identity {
        Some(identity) => note("user", identity.assume(needs.raw_sockets)),
        None => note("user", identity::is_not_root()),
    }
    note("capabilities", capabilities::leave(needs.raw_sockets));
    let no_new_privs = nix::sys::prctl::set_no_new_privs();
    note("no_new_privs", no_new_privs.map_err(|error| error.to_string()));
    note("landlock", paths::confine(&needs.written, &needs.read));
    note("seccomp", syscalls::confine(needs.raw_sockets));
    shortfalls
}

/// Becomes another user and nothing else; that user has no capability but what `raw_sockets` take.
///
/// # Errors
/// When that is not possible.
pub(super) fn become_only(identity: &Identity, raw_sockets: RawSockets) -> Result<(), String> {
    identity.assume(raw_sockets)?;
    #[cfg(target_os = "linux")]
    capabilities::leave(raw_sockets)?;
    Ok(())
}

/// The directory `path` lies in, which it may be created in anew.
pub(super) fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

/// That no other thread runs: it would keep what this one gives up.
#[cfg(target_os = "linux")]
fn alone() -> Result<(), String> {
    match std::fs::read_dir("/proc/self/task").map(Iterator::count) {
        Ok(1) => Ok(()),
        Ok(threads) => Err(format!("{} others run already and give nothing up", threads - 1)),
        Err(error) => Err(format!("/proc/self/task: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_a_bare_name_is_the_current_one() {
        for (path, expected) in [("log", "."), ("a/log", "a"), ("/log", "/"), ("/var/log/x", "/var/log")] {
            assert_eq!(directory(Path::new(path)), Path::new(expected), "{path}");
        }
    }
}
