//! Fetches memory before it is needed, so that many packets wait for memory at the same time instead of one after
//! another. Only a hint: no result depends on it, and where the processor knows none it is nothing.

use std::ops::Range;

/// A cache line, in bytes, on the processors this is built for.
const LINE: usize = 64;

/// Fetches the line `value` begins in.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    line(std::ptr::from_ref(value).cast());
}

/// Fetches the lines in which the bytes `span` of `value` lie.
#[inline]
pub(crate) fn prefetch_span<T>(value: &T, span: Range<usize>) {
    let start: *const i8 = std::ptr::from_ref(value).cast();
    for at in span.clone().step_by(LINE) {
        line(start.wrapping_add(at));
    }
    line(start.wrapping_add(span.end.saturating_sub(1)));
}

/// Fetches the lines of `bytes`.
#[inline]
pub(crate) fn prefetch_bytes(bytes: &[u8]) {
    let start: *const i8 = bytes.as_ptr().cast();
    for at in (0..bytes.len()).step_by(LINE) {
        line(start.wrapping_add(at));
    }
}

#[inline]
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
fn line(at: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: A prefetch reads nothing the program can see and never faults, whatever the address; SSE, of which it is
    // a part, belongs to every x86-64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at) }
}

#[inline]
#[cfg(not(target_arch = "x86_64"))]
const fn line(_: *const i8) {}
