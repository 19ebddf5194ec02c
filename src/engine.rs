//! What moves the frames: reads batches, stamps the one clock, spreads frames over workers by host pair, and puts what
//! they find in capture order.

pub mod run;
