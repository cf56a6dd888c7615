//! Connections that are handed on as they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::routing::HostPattern;

/// Connections to listeners with `tls` whose clients ask for one of these names go to a cluster as they are: TLS ends
/// there. Nothing of them is looked at but the name. These names go before those of sites.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PassthroughConfig {
    /// Names that clients ask for (SNI): `"db.example"`, `"*.db.example"` (any depth below), or `"*"` (every name no other
    /// one has, and none).
    pub names: Vec<HostPattern>,
    /// The named cluster that gets the connections. Its endpoints' URLs say where; whether they begin with `http` or
    /// `https` makes no difference. `proxy_protocol` tells them who connects.
    pub cluster: String,
}
