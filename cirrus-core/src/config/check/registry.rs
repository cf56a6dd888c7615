//! The registry: its services have names of their own, and somebody can change them.

use std::collections::HashSet;

use super::origins::origins;
use crate::config::faults::Faults;
use crate::config::model::Config;

pub(super) fn registry(config: &Config, faults: &mut Faults) {
    let Some(registry) = &config.registry else {
        return;
    };
    if let Some(legacy) = registry.legacy.as_deref() {
        name("registry.legacy", legacy, faults);
        if config.admin.is_none() {
            let value = Some(legacy.to_owned());
            let message = "without `[admin]` there is no listener for `/add`, `/get` and `/delete`";
            faults.error("registry.legacy", value, message);
        }
    }
    let mut seen = HashSet::new();
    for (index, service) in registry.service.iter().enumerate() {
        let path = format!("registry.service[{index}]");
        name(&format!("{path}.name"), &service.name, faults);
        if !seen.insert(&service.name) {
            let value = Some(service.name.clone());
            let message = "another service has this name already; names are unique";
            faults.error(format!("{path}.name"), value, message);
        }
        origins(config, &service.origin, &format!("{path}.origin"), faults);
    }
}

/// As in the admin API.
fn name(path: &str, name: &str, faults: &mut Faults) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~:@[]".contains(c);
    if name.is_empty() || name.len() > 255 || !name.chars().all(is_plain) {
        let message = "a name has 1 to 255 letters, digits and any of -._~:@[]";
        faults.error(path, Some(name.to_owned()), message);
    }
}
