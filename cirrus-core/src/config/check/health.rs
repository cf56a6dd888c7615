//! Checks of endpoints: each of its kind whole, and conditions over checks that there are.

use std::collections::HashMap;

use crate::config::faults::Faults;
use crate::config::model::{BodyMatchConfig, CheckConfig, CheckKind, HealthConfig};
use crate::config::value::{HealthTerm, is_name};
use crate::health::user_of_script;

/// What a cluster or site wants watched.
pub(super) struct WatchCheck<'a> {
    pub(super) health: &'a HealthConfig,
    pub(super) checks: &'a [CheckConfig],
    /// `server.allow_scripts`.
    pub(super) allow_scripts: bool,
    /// The program's own, if that is known.
    pub(super) probes: Option<&'a [String]>,
    pub(super) path: &'a str,
}

// === impl WatchCheck ===

impl WatchCheck<'_> {
    pub(super) fn run(&self, faults: &mut Faults) {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for (index, check) in self.checks.iter().enumerate() {
            let path = format!("{}.check[{index}]", self.path);
            let name = check.name();
            if let Some(first) = seen.insert(name, index) {
                let message = format!(
                    "`check[{first}]` is called this already: give one of them another `name`"
                );
                faults.error(format!("{path}.name"), Some(name.to_owned()), message);
            }
            if !is_name(name) {
                let message = "a check's name has letters, digits, `-` and `_` only";
                faults.error(format!("{path}.name"), Some(name.to_owned()), message);
            }
            self.check(check, &path, faults);
        }
        let lists = [("all", &self.health.all), ("any", &self.health.any)];
        let some = self
            .health
            .at_least
            .iter()
            .map(|some| ("at_least.of", &some.of));
        for (key, terms) in lists.into_iter().chain(some) {
            self.terms(key, terms, &seen, faults);
        }
    }

    fn terms(
        &self,
        key: &str,
        terms: &[HealthTerm],
        known: &HashMap<&str, usize>,
        faults: &mut Faults,
    ) {
        for (index, term) in terms.iter().enumerate() {
            if let HealthTerm::Check(name) = term
                && !known.contains_key(&**name)
            {
                let mut names: Vec<_> = known.keys().copied().collect();
                names.sort_unstable();
                let message = format!("no `check` has this name; there are: {}", names.join(", "));
                let path = format!("{}.health.{key}[{index}]", self.path);
                faults.error(path, Some(name.clone()), message);
            }
        }
    }

    fn check(&self, check: &CheckConfig, path: &str, faults: &mut Faults) {
        let mut fault = |key: &str, value: Option<String>, message: &str| {
            faults.error(format!("{path}.{key}"), value, message);
        };
        let is_http = check.kind == CheckKind::Http;
        if is_http
            && !(check.path.starts_with('/') && check.path.is_ascii() && !check.path.contains(' '))
        {
            let message = "a path begins with `/` and has no spaces: write `%20`";
            fault("path", Some(check.path.clone()), message);
        }
        if is_http && check.status.is_empty() {
            fault(
                "status",
                None,
                "at least one status must be good, such as \"2xx\"",
            );
        }
        if (check.kind == CheckKind::Custom) != check.probe.is_some() {
            fault(
                "probe",
                check.probe.clone(),
                "goes with `kind = \"custom\"`, which needs it",
            );
        }
        if let (Some(name), Some(known)) = (&check.probe, self.probes)
            && !known.contains(name)
        {
            fault("probe", Some(name.clone()), &no_probe(known));
        }
        if check.kind == CheckKind::Script {
            if check.command.is_empty() {
                fault(
                    "command",
                    None,
                    "a script needs its program and arguments, such as [\"/usr/bin/check-db\", \"--fast\"]",
                );
            }
            if !self.allow_scripts {
                fault(
                    "kind",
                    Some("script".to_owned()),
                    "needs `[server] allow_scripts = true`",
                );
            }
            if let Some(directory) = check.directory.as_ref().filter(|path| path.is_relative()) {
                let directory = directory.display().to_string();
                fault(
                    "directory",
                    Some(directory),
                    "a script runs in a directory whose path begins with `/`",
                );
            }
            if let Some(Err(why)) = check.user.as_deref().map(user_of_script) {
                fault("user", check.user.clone(), &why);
            }
        }
        if let Some(wanted) = &check.body {
            body(wanted, &mut fault);
        }
    }
}

fn no_probe(known: &[String]) -> String {
    match known {
        [] => "this program has no probes of its own: they are registered with `Server::builder().probe(name, probe)`"
            .to_owned(),
        _ => format!("this program has no probe of this name; it has: {}", known.join(", ")),
    }
}

fn body(wanted: &BodyMatchConfig, fault: &mut impl FnMut(&str, Option<String>, &str)) {
    if wanted.pointer.is_some() != wanted.equals.is_some() {
        fault("body", None, "`pointer` and `equals` go together");
    }
    let pointer = wanted.pointer.as_ref();
    if let Some(pointer) = pointer.filter(|text| !text.is_empty() && !text.starts_with('/')) {
        let message = "a JSON pointer begins with `/`, such as \"/status\"";
        fault("body.pointer", Some(pointer.clone()), message);
    }
    if *wanted == BodyMatchConfig::default() {
        fault(
            "body",
            None,
            "give `text`, `regex`, or `pointer` and `equals`",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Abilities, Config, Format, check};

    fn faults(text: &str) -> String {
        let origin = "[[cluster.origin]]\nurl = \"http://127.0.0.1:1\"\n";
        let text = format!("[[cluster]]\nname = \"a\"\n{text}\n{origin}");
        match Config::parse(&text, Format::Toml) {
            Ok((config, _)) => check(&config, Abilities::default()).to_string(),
            Err(faults) => faults.to_string(),
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, fault) in [
            ("check = [{}, {}]", "cluster[0].check[1].name"),
            ("check = [{ name = \"a b\" }]", "cluster[0].check[0].name"),
            ("check = [{ path = \"x\" }]", "cluster[0].check[0].path"),
            (
                "check = [{ kind = \"custom\" }]",
                "cluster[0].check[0].probe",
            ),
            (
                "check = [{ kind = \"script\", command = [\"/bin/true\"] }]",
                "allow_scripts",
            ),
            (
                "check = [{ kind = \"script\" }]",
                "cluster[0].check[0].command",
            ),
            ("check = [{ body = { pointer = \"/a\" } }]", "go together"),
            ("check = [{ body = {} }]", "cluster[0].check[0].body"),
            (
                "check = [{ interval = \"1ms\" }]",
                "cluster[0].check[0].interval",
            ),
            ("check = [{ healthy = 0 }]", "cluster[0].check[0].healthy"),
            ("health = { all = [\"http\"] }", "cluster[0].health.all[0]"),
            (
                "health = { at_least = { n = 2, of = [\"p99 < 1s\"] } }",
                "cluster[0].health.at_least.n",
            ),
            (
                "health = { max_ejected = 101 }",
                "cluster[0].health.max_ejected",
            ),
            (
                "breaker = { error_rate = 0 }",
                "cluster[0].breaker.error_rate",
            ),
        ] {
            assert!(faults(text).contains(fault), "{text}: {}", faults(text));
        }
    }

    #[test]
    fn probes_are_those_of_the_program() {
        let text = "[[cluster]]\nname = \"a\"\norigin = [{ url = \"http://127.0.0.1:1\" }]\n\
            check = [{ kind = \"custom\", probe = \"qeue\" }]\n\
            [[site]]\nhosts = [\"*\"]\norigin = [{ url = \"http://127.0.0.1:1\" }]\n\
            check = [{ kind = \"custom\", probe = \"queue\" }]\n";
        let (config, _) = Config::parse(text, Format::Toml).unwrap();
        let told = |abilities| check(&config, abilities).to_string();
        assert_eq!(
            told(Abilities::default()),
            "",
            "nobody says which there are"
        );
        let some = ["queue", "lines"].map(str::to_owned);
        let some = told(Abilities::default().with_probes(some));
        assert!(some.contains("cluster[0].check[0].probe"), "{some}");
        assert!(some.contains("\"qeue\"") || some.contains("qeue"), "{some}");
        assert!(some.contains("it has: lines, queue"), "{some}");
        assert!(!some.contains("site[0]"), "{some}");
        let none = told(Abilities::default().with_probes([]));
        assert!(none.contains("site[0].check[0].probe"), "{none}");
    }

    #[test]
    fn what_is_right_passes() {
        let text = "health = { all = [\"web\", \"p99 < 300ms\", \"error_rate < 5%\"], panic_threshold = 30 }\n\
            check = [{ name = \"web\", path = \"/healthz\", status = [\"200\", \"204\"] }, { kind = \"tcp\" }]\n\
            breaker = { error_rate = 50, max_requests = 100 }";
        assert!(!faults(text).contains("error"), "{}", faults(text));
    }
}
