//! The filtering equipment of the stories, one kind a file. What each style does is documented fact (wire-facts 2.2
//! and 3); where nothing is known, a plain choice was made and said so.

pub(crate) mod blackhole;
pub(crate) mod block_page;
pub(crate) mod dns_forger;
pub(crate) mod header_law;
pub(crate) mod interceptor;
pub(crate) mod lying_resolver;
pub(crate) mod prohibition;
pub(crate) mod reset_injector;
pub(crate) mod silent_drop;
pub(crate) mod slowing;
pub(crate) mod stream_injector;
