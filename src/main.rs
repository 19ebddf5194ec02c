//! The `blockscope` command.

fn main() {}
