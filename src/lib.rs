//! blockscope looks at packets and says what was blocked on the way, how, by which kind of box, how far away, and on
//! what evidence.
//!
//! # The drawing
//!
//! A source supplies records; the reader stamps the one clock and hands each frame to the worker that owns its host
//! pair; a shard dissects it, looks up the flow and shows both to the detectors; a detector that has seen enough files a
//! finding; the ledger puts all findings in capture order, adds what only the whole capture can tell, judges, and tells
//! the sink.
//!
//! ```text
//!  saved capture ─┐  capture/                                 engine/run
//!  compressed    ─┼─► Source ── RecordBatch ──► reader:  clock  at = max(at, record.at)     (never runs back)
//!  pipe          ─┤             (a mapped file          number 1, 2, 3 … = Wireshark's frame.number
//!  interface     ─┘              or a read block)       shard  hash of the HOST PAIR, 64 fixed shards
//!            ┌────────────────────── batches over bounded channels ◄─────────┘    engine/hand_over
//!            │                       of a mapped capture shard by shard, many frames of each
//!            ▼                       ▼                        ▼
//!        worker 0                worker 1        …       worker N-1          engine/worker, engine/shard
//!            │  settle      suspicions and flows past their deadline are concluded as of that deadline
//!            │  dissect     packet/: a Packet<'a> that borrows, or a counted reason why not
//!            │  look up     flow/:   the Flow, its two Sides, the first bytes of both directions
//!            │  observe     detect/: every detector sees the packet before the flow learns it; direct calls
//!            │  learn       only now is the packet part of what is known
//!            ▼
//!        Report { findings, coverage }  ──►  ledger  ──►  Sink: text for a person, EVE for a machine     report/
//!        and, add-only, baselines ─────────────┘  (what all flows of a host show; read when no worker writes)
//!
//!        From a live interface the same, at every tick and as far as is known by then; with several threads the
//!        kernel shares packets out by host pair, and each worker reads a source of its own.        engine/live
//!        Its frames wait beside that, for findings to say which of them are evidence.          engine/evidence
//!        Of many captures in parts that a journal keeps, put together before the ledger compares.  engine/part
//!
//!        Beside it: fixture/ and check/ hold what is found against what is expected, calibrate/ against what is true;
//!        scenario/, the forge, makes captures and knows nothing of all this.
//! ```
//!
//! # The promises
//!
//! 1. **Deterministic.** The same capture gives the same findings, byte for byte, for any number of threads, any batch
//!    size, from a file or a pipe. Deadlines decide, sweeping only frees; shards are fixed and threads own ranges of them.
//! 2. **Zero copy.** A saved capture is mapped, batches carry references into the map, and [`packet::packet::Packet`]
//!    borrows. Nothing is allocated for a clean packet once slots and heads are warm.
//! 3. **Bounded.** Flows, first bytes, suspicions, habits, baselines and findings have a bound, a policy when full, and
//!    a counter in the summary.
//! 4. **Pure core.** [`payload`], [`packet`], [`flow`], [`finding`] and [`detect`] do no I/O, read no clock, start no
//!    thread, draw no randomness. [`flow`] knows no detector, [`detect`] knows no thread, [`report`] reads findings only;
//!    the command line is a part of the binary alone, and what only it needs is behind the feature `cli`.
//! 5. **Independent witness.** [`scenario`], the forge that plays the filtering equipment, imports nothing of the rest.

pub mod calibrate;
pub mod capture;
pub mod check;
pub mod detect;
pub mod engine;
pub mod finding;
pub mod fixture;
pub mod flow;
pub mod packet;
pub mod payload;
mod prefetch;
pub mod report;
pub mod scenario;
pub mod time;
