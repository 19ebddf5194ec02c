//! Packs of facts: the addresses, redirects, pages and headers by which known filters give themselves away.
//!
//! ```text
//! builtin.toml ──► Row, Row, Row … ──► Pack ──► dns_address(ip)            ──► the best row, or none
//!                   (readable data)     (built once, matched in one pass)
//!                                       └──► match_response(what it says)  ──► the best row and where it matched
//! ```
//!
//! Lists that others publish are read at run time, in their own forms ([`list`]), and searched together with ours; what
//! a run consults is its [`facts`].
//!
//! A pack only says that something looks like a known notice. Whether it came from where it claims to is for a detector
//! to judge; and a row of scope [`FalsePositive`](row::Scope::FalsePositive) says that what looks like blocking is none.

mod expression;
pub mod facts;
pub mod list;
mod needles;
pub mod pack;
pub mod row;
