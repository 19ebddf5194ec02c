//! blockscope looks at packets and says what was blocked on the way, how, by which kind of box, how far away, and on
//! what evidence.

pub mod capture;
pub mod detect;
pub mod engine;
pub mod finding;
pub mod fixture;
pub mod flow;
pub mod packet;
pub mod payload;
pub mod report;
pub mod scenario;
pub mod time;
