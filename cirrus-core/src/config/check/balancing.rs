//! Balancing, retries and mirrors: what belongs together, and clusters that there are.

use super::site::SiteCheck;
use crate::config::faults::Faults;
use crate::config::model::{
    BalanceConfig, BalancePolicy, RouteConfig, SameSite, StickyConfig, SubsetConfig,
};
use crate::config::value::{HashKey, SplitKey, cookie_name};

/// Checks the table that stands at `path`.
pub(super) fn balance(balance: &BalanceConfig, path: &str, faults: &mut Faults) {
    let hashes = matches!(
        balance.policy,
        BalancePolicy::Ring | BalancePolicy::Maglev | BalancePolicy::Rendezvous
    );
    let only = "only with `policy` \"ring\", \"maglev\" or \"rendezvous\"";
    if !hashes && balance.hash != HashKey::default() {
        let value = Some(balance.hash.to_string());
        faults.error(format!("{path}.hash"), value, only);
    }
    if let Some(percent) = balance.bounded_load.filter(|_| !hashes) {
        faults.error(
            format!("{path}.bounded_load"),
            Some(percent.to_string()),
            only,
        );
    }
    if let Some(time) = balance.slow_start.filter(|_| hashes) {
        let message = "not with a policy that goes by a hash: keys would go elsewhere meanwhile";
        faults.error(
            format!("{path}.slow_start"),
            Some(time.to_string()),
            message,
        );
    }
    if let Some(edge) = balance.edge.clone().filter(|_| balance.subset.is_none()) {
        faults.error(format!("{path}.edge"), Some(edge), "only with `subset`");
    }
    if let Some(sticky) = &balance.sticky {
        self::sticky(sticky, &format!("{path}.sticky"), faults);
    }
}

fn sticky(sticky: &StickyConfig, path: &str, faults: &mut Faults) {
    if let Err(error) = cookie_name(&sticky.cookie) {
        let value = Some(sticky.cookie.clone());
        faults.error(format!("{path}.cookie"), value, error.to_string());
    }
    let is_path = |text: &str| {
        let allowed = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b';';
        text.starts_with('/') && text.bytes().all(allowed)
    };
    if !is_path(&sticky.path) {
        let message = "a path begins with `/` and has no `;`";
        faults.error(format!("{path}.path"), Some(sticky.path.clone()), message);
    }
    if sticky.same_site == SameSite::None && !sticky.secure {
        let message = "browsers refuse it without `secure = true`";
        faults.error(
            format!("{path}.same_site"),
            Some("none".to_owned()),
            message,
        );
    }
    if sticky
        .secret
        .as_ref()
        .is_some_and(|secret| secret.as_str().len() < 16)
    {
        let message = "too short to hide anything: at least 16 characters";
        faults.error(format!("{path}.secret"), None, message);
    }
}

// === impl SiteCheck ===

impl SiteCheck<'_> {
    pub(super) fn balancing(&mut self) {
        let site = self.site;
        balance(
            &site.balance,
            &format!("{}.balance", self.path),
            self.faults,
        );
        if let Some(mirror) = &site.mirror {
            self.cluster("mirror.cluster", Some(&mirror.cluster));
        }
        self.subset("subset", site.subset.as_ref());
    }

    fn subset(&mut self, field: &str, subset: Option<&SubsetConfig>) {
        if subset.is_some_and(|subset| subset.labels.is_empty()) {
            let message = "without a label it is all endpoints: name one, or leave `subset` out";
            self.error(&format!("{field}.labels"), None, message);
        }
    }

    pub(super) fn route_balancing(&mut self, field: &str, route: &RouteConfig) {
        if let Some(mirror) = &route.mirror {
            self.cluster(&format!("{field}.mirror.cluster"), Some(&mirror.cluster));
        }
        self.subset(&format!("{field}.subset"), route.subset.as_ref());
        for (number, part) in route.split.iter().enumerate() {
            let field = format!("{field}.split[{number}]");
            self.cluster(&format!("{field}.cluster"), Some(&part.cluster));
            self.subset(&format!("{field}.subset"), part.subset.as_ref());
        }
        let field = |name| format!("{field}.{name}");
        if !route.split.is_empty() && route.split.iter().all(|part| part.weight == 0) {
            self.error(
                &field("split"),
                None,
                "nobody has a share: give one of them a weight",
            );
        }
        if route.split.is_empty() && route.split_by != SplitKey::Random {
            let value = Some(route.split_by.to_string());
            self.error(&field("split_by"), value, "only with `split`");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Abilities, Config, Format, check};

    fn faults(table: &str) -> String {
        let text = format!(
            "[[cluster]]\nname = \"a\"\norigin = [{{ url = \"http://127.0.0.1:1\" }}]\n{table}"
        );
        match Config::parse(&text, Format::Toml) {
            Ok((config, _)) => check(&config, Abilities::default()).to_string(),
            Err(faults) => faults.to_string(),
        }
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        for (table, fault) in [
            ("balance = { hash = \"path\" }", "balance.hash"),
            ("balance = { bounded_load = 150 }", "balance.bounded_load"),
            (
                "balance = { policy = \"ring\", bounded_load = 100 }",
                "balance.bounded_load",
            ),
            (
                "balance = { policy = \"maglev\", slow_start = \"5s\" }",
                "balance.slow_start",
            ),
            ("balance = { edge = \"a\" }", "balance.edge"),
            ("balance = { spill_below = 0 }", "balance.spill_below"),
            (
                "balance = { sticky = { same_site = \"none\" } }",
                "sticky.same_site",
            ),
            ("balance = { sticky = { path = \"/;a\" } }", "sticky.path"),
            (
                "balance = { sticky = { cookie = \"a b\" } }",
                "sticky.cookie",
            ),
            (
                "balance = { sticky = { secret = \"short\" } }",
                "sticky.secret",
            ),
            ("retry = { attempts = 0 }", "retry.attempts"),
            ("retry = { budget = 101 }", "retry.budget"),
        ] {
            assert!(faults(table).contains(fault), "{table}: {}", faults(table));
        }
        for table in [
            "balance = { policy = \"ring\", hash = \"header:x-user\", bounded_load = 125 }",
            "balance = { slow_start = \"30s\", sticky = { ttl = \"1h\" }, subset = 5, edge = \"a\" }",
            "retry = { on = [\"connect\", \"5xx\"], hedge_after = \"p95\" }",
        ] {
            assert_eq!(faults(table), "", "{table}");
        }
    }

    #[test]
    fn shares_go_to_clusters_that_there_are() {
        let route = |rest: &str| {
            faults(&format!(
                "[[site]]\nhosts = [\"*\"]\n[[site.route]]\n{rest}\n"
            ))
        };
        let split = "split = [{ cluster = \"a\", weight = 1 }, { cluster = \"b\", weight = 0 }]";
        assert!(route(split).contains("split[1].cluster"));
        let nobody = "split = [{ cluster = \"a\", weight = 0 }]";
        assert!(route(nobody).contains("nobody has a share"));
        assert!(route("cluster = \"a\"\nsplit_by = \"client\"").contains("split_by"));
        let all = "cluster = \"a\"\nsubset = { labels = {} }";
        assert!(route(all).contains("subset.labels"));
        let mirror = "cluster = \"a\"\nmirror = { cluster = \"b\" }";
        assert!(route(mirror).contains("mirror.cluster"));
        assert_eq!(route("split = [{ cluster = \"a\", weight = 1 }]"), "");
    }
}
