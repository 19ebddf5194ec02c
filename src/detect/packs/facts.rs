//! The facts a run consults: those that come with the program, and whatever lists were given besides.

use std::sync::Arc;

use super::pack::Pack;

/// The facts of one run. Copying it copies a reference.
#[derive(Clone, Debug, Default)]
pub enum Facts {
    /// Those that come with the program. They are put in order only when they are first asked for.
    #[default]
    Builtin,
    /// Those and given ones.
    Given(Arc<Pack>),
}

impl Facts {
    /// The pack to look things up in.
    #[must_use]
    pub fn pack(&self) -> &Pack {
        match self {
            Self::Builtin => Pack::builtin(),
            Self::Given(pack) => pack,
        }
    }
}
