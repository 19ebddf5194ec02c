//! Whom root becomes: the user named, or the one who called `sudo`.

use std::ffi::CString;

use anyhow::{Context, bail};
use caps::securebits::set_keepcaps;
use nix::unistd::{Gid, Uid, User, geteuid, initgroups, setgroups, setresgid, setresuid};

use super::RawSockets;

/// A user to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Identity {
    /// None for a user the system has no entry for.
    name: Option<String>,
    uid: Uid,
    gid: Gid,
}

impl Identity {
    /// The user to become: `named`, or else the one who called `sudo`; none for whoever is not root, and for root where
    /// there is nobody else to be.
    ///
    /// # Errors
    /// There is no user `named`, or only root could become that user.
    pub(in super::super) fn chosen(named: Option<&str>) -> anyhow::Result<Option<Self>> {
        let Some(named) = named else {
            return Ok(if geteuid().is_root() { caller() } else { None });
        };
        let user = User::from_name(named).with_context(|| format!("--user {named}"))?;
        let Some(user) = user else {
            bail!("--user {named}: there is no such user");
        };
        if geteuid() == user.uid {
            return Ok(None);
        }
        if !geteuid().is_root() {
            bail!("--user {named}: only root can become another user");
        }
        Ok(Some(Self {
            name: Some(user.name),
            uid: user.uid,
            gid: user.gid,
        }))
    }

    /// The user's and the group's number.
    pub(in super::super) const fn owner(&self) -> (u32, u32) {
        (self.uid.as_raw(), self.gid.as_raw())
    }

    /// Becomes this user for good. Capabilities go with root, unless `raw_sockets` are kept: then they stay permitted
    /// until they are given up.
    pub(super) fn assume(&self, raw_sockets: RawSockets) -> Result<(), String> {
        let told = |error: nix::Error| format!("cannot become user {}: {error}", self.uid);
        let name = self.name.as_ref().and_then(|name| CString::new(name.as_str()).ok());
        match name {
            Some(name) => initgroups(&name, self.gid),
            None => setgroups(&[self.gid]),
        }
        .map_err(told)?;
        set_keepcaps(raw_sockets == RawSockets::Kept).map_err(|error| error.to_string())?;
        setresgid(self.gid, self.gid, self.gid).map_err(told)?;
        setresuid(self.uid, self.uid, self.uid).map_err(told)?;
        set_keepcaps(false).map_err(|error| error.to_string())
    }
}

/// That this process is not root's, or else what to do about it.
pub(super) fn is_not_root() -> Result<(), String> {
    if geteuid().is_root() {
        Err("runs as root, and nobody else is known to run as; name somebody with --user NAME".to_owned())
    } else {
        Ok(())
    }
}

/// Who called `sudo`, from what it leaves in the environment; not root again.
fn caller() -> Option<Identity> {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let (uid, gid) = (number("SUDO_UID")?, number("SUDO_GID")?);
    (uid != 0).then(|| Identity {
        name: User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name),
        uid: Uid::from_raw(uid),
        gid: Gid::from_raw(gid),
    })
}
