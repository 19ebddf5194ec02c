//! Whom root becomes where that is not done: nobody.

use anyhow::bail;

use super::RawSockets;

/// A user to become, of whom there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Identity {}

impl Identity {
    /// Nobody.
    ///
    /// # Errors
    /// Somebody was `named`.
    pub(in super::super) fn chosen(named: Option<&str>) -> anyhow::Result<Option<Self>> {
        match named {
            Some(_) => bail!("--user is only understood on Linux"),
            None => Ok(None),
        }
    }

    pub(in super::super) const fn owner(&self) -> (u32, u32) {
        match *self {}
    }

    pub(super) const fn assume(&self, _: RawSockets) -> Result<(), String> {
        match *self {}
    }
}
