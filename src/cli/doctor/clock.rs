//! Whether the machine's clock is kept by somebody (adjtimex(2)).

use super::check::{Check, State};

/// How the clock is kept.
pub(super) fn clock() -> Check {
    told(synchronised())
}

fn told(synchronised: Option<bool>) -> Check {
    match synchronised {
        Some(true) => Check::good("clock", "it is kept in time (NTP)"),
        Some(false) => Check::bad(
            "clock",
            State::Notice,
            "nobody keeps it in time, so findings cannot be matched with what others saw then",
            "timedatectl set-ntp true, or install chrony",
        ),
        None => Check::unknown("clock", "the kernel does not say whether it is kept in time"),
    }
}

#[allow(unsafe_code)]
fn synchronised() -> Option<bool> {
    // SAFETY: timex is plain data of integers, for which zeroes are a value; zero modes change nothing.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: adjtimex reads and writes the struct passed, which outlives the call.
    let outcome = unsafe { libc::adjtimex(&raw mut state) };
    (outcome >= 0).then_some(outcome != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_nobody_keeps_is_told() {
        let of = |synchronised| {
            let check = told(synchronised);
            (check.state, check.advice.is_some())
        };
        assert_eq!(of(Some(true)), (State::Good, false));
        assert_eq!(of(Some(false)), (State::Notice, true));
        assert_eq!(of(None), (State::Unknown, false));
        assert_ne!(clock().state, State::Unknown, "Linux says whether it is kept");
    }
}
