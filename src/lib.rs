//! blockscope looks at packets and says what was blocked on the way, how, by which kind of box, how far away, and on
//! what evidence.

pub mod capture;
pub mod packet;
pub mod scenario;
pub mod time;
