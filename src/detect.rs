//! What is known of blocking, and what tells it from everything else.

pub mod packs;
