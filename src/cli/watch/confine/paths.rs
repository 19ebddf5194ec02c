//! Landlock: of the file system only what is written and read again, no TCP but what is open, no signals to others.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

/// The newest rules asked for; an older kernel applies those it knows.
const RULES: ABI = ABI::V6;

/// What the program reads of the system: the counters of interfaces (libpcap) and its own (memory).
const SYSTEM: [&str; 2] = ["/sys", "/proc/self"];

/// Leaves `written`, directories in which files may be made, written and removed, and `read`, which may be read.
pub(super) fn confine(written: &[PathBuf], read: &[PathBuf]) -> Result<(), String> {
    match restrict(written, read) {
        Ok(RulesetStatus::FullyEnforced) => Ok(()),
        Ok(RulesetStatus::PartiallyEnforced) => Err("this kernel knows only some of its rules, which hold".to_owned()),
        Ok(RulesetStatus::NotEnforced) => Err("this kernel does not have it, or it is not among its lsm=".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn restrict(written: &[PathBuf], read: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(AccessNet::from_all(RULES))?
        .scope(Scope::from_all(RULES))?
        .create()?;
    let looks = AccessFs::ReadFile | AccessFs::ReadDir;
    for path in SYSTEM
        .map(Path::new)
        .into_iter()
        .chain(read.iter().map(PathBuf::as_path))
    {
        rules = allow(rules, path, looks)?;
    }
    for path in written {
        let makes = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
        rules = allow(rules, path, looks | makes)?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// Allows `access` to what is at `path` and beneath it. What is not there, or may not be looked at, needs no rule.
fn allow(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, RulesetError> {
    let Ok(opened) = PathFd::new(path) else {
        return Ok(rules);
    };
    let access = if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(RULES)
    };
    rules.add_rule(PathBeneath::new(opened, access))
}
