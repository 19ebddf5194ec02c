//! `blockscope schema`.

use std::io::{self, ErrorKind, Write};

use blockscope::report::eve::SCHEMA;
use clap::Args;

use super::Ending;
use super::exit::Exit;

/// Print the JSON Schema of the records `read --format eve` writes
#[derive(Debug, Args)]
pub(super) struct SchemaArgs {}

/// Prints the schema.
pub(super) fn run() -> Ending {
    match io::stdout().write_all(SCHEMA.as_bytes()) {
        Ok(()) => Ok(Exit::Ran),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Ran),
        Err(error) => Err((Exit::Unreadable, error.into())),
    }
}
