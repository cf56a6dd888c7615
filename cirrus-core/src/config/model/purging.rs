//! Who may purge, and how edges hear of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{KeyHash, Period};

/// A list of purges in a file, which several edges follow: those of one machine, or of a volume that they share. What is
/// purged on one of them, or by `cirrus purge --log`, is purged on all. An edge that was away does what it has missed
/// before anything that it has stored is used. A change needs a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PurgeLogConfig {
    /// The file; made if it is not there. `FILE.lock` beside it is made too.
    /// Relative paths start at the configuration file.
    pub file: PathBuf,
    /// Where this edge, and no other, keeps how far it is. Without it everything stored is purged at a start, as is right
    /// for a store in memory. Relative paths start at the configuration file.
    #[serde(default)]
    pub position: Option<PathBuf>,
    /// For how long the file may be unreadable before nothing is served that was stored until then; 0 for not at all.
    #[serde(default = "grace")]
    pub grace: Period,
}

/// Who may purge with the method PURGE. Whoever is asked for both must fulfil both; an empty list asks for nothing. Where
/// this is not given, PURGE is answered 405 and purges nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PurgeMethodConfig {
    /// Networks that may purge, such as `["10.0.0.0/8", "::1/128"]`; others get 403. Whose address counts is as in
    /// `access`.
    #[schemars(with = "Vec<String>")]
    pub allow: Vec<IpNet>,
    /// Names with the hashes of keys, one of which must be in the field `x-purge-key`; without, 401.
    pub keys: BTreeMap<String, KeyHash>,
}

fn grace() -> Period {
    Period::secs(10)
}
