//! seccomp: the system calls a watch makes; any other fails with `EPERM` instead of being made.
//!
//! The list is what the program, the C library (glibc and musl), tokio and libpcap call once everything is open, found
//! by running under `strace` and by reading. A call that is missing from it fails where it is made and is reported
//! there; it does not end the watch.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use super::RawSockets;

/// Calls allowed whatever their arguments: memory, threads, time, waiting, and what is done with descriptors.
const CALLS: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_futex,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getrandom,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_prlimit64,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_restart_syscall,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_openat,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_unlinkat,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
];

/// The older forms that only x86-64 has.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[c_long] = &[
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_wait,
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_unlink,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_arch_prctl,
    libc::SYS_accept,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[c_long] = &[];

/// The `ioctl` requests made: of terminals, of descriptors, and whether an interface is up.
#[allow(clippy::unnecessary_cast, reason = "their type is another with musl")]
const REQUESTS: [u64; 5] = [
    libc::TCGETS as u64,
    libc::TIOCGWINSZ as u64,
    libc::FIONBIO as u64,
    libc::SIOCGIFFLAGS as u64,
    libc::SIOCGIFINDEX as u64,
];

/// What opening an interface anew takes.
const OPENING: [c_long; 4] = [libc::SYS_socket, libc::SYS_bind, libc::SYS_ioctl, libc::SYS_connect];

/// Fails any other call from now on.
pub(super) fn confine(raw_sockets: RawSockets) -> Result<(), String> {
    let program = program(raw_sockets)?;
    apply_filter(&program).map_err(|error| error.to_string())
}

fn program(raw_sockets: RawSockets) -> Result<BpfProgram, String> {
    let told = |error: seccompiler::BackendError| error.to_string();
    let arch: TargetArch = std::env::consts::ARCH.try_into().map_err(told)?;
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> =
        CALLS.iter().chain(OLD_CALLS).map(|call| (*call, Vec::new())).collect();
    let mut requests = Vec::new();
    for request in REQUESTS {
        requests.push(argument(1, request).map_err(told)?);
    }
    rules.insert(libc::SYS_ioctl, requests);
    // A thread names itself; a pair of sockets is how tokio hears of signals.
    let names_itself = argument(0, libc::PR_SET_NAME as u64).map_err(told)?;
    rules.insert(libc::SYS_prctl, vec![names_itself]);
    let local = argument(0, libc::AF_UNIX as u64).map_err(told)?;
    rules.insert(libc::SYS_socketpair, vec![local]);
    match raw_sockets {
        RawSockets::GivenUp => {}
        RawSockets::Kept => rules.extend(OPENING.map(|call| (call, Vec::new()))),
    }
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, arch).map_err(told)?;
    filter.try_into().map_err(told)
}

/// The rule that argument `index` of a call is `value`.
fn argument(index: u8, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    let condition = SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?;
    SeccompRule::new(vec![condition])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_can_be_made_for_this_machine() {
        for raw_sockets in [RawSockets::GivenUp, RawSockets::Kept] {
            assert!(!program(raw_sockets).unwrap().is_empty());
        }
    }

    #[test]
    fn what_would_start_a_program_or_open_a_socket_is_not_listed() {
        for call in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_socket,
            libc::SYS_ptrace,
            libc::SYS_bpf,
        ] {
            assert!(!CALLS.contains(&call) && !OLD_CALLS.contains(&call), "{call}");
        }
    }
}
