//! `cirrus cert`.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use crate::admin::{Admin, Target};
use crate::failure::Failure;
use crate::{output, serve};

/// How often a job is asked how far it is.
const LOOK: Duration = Duration::from_millis(250);

const PATH: &str = "/api/v1/certificates";

/// Shows, obtains, renews, imports, exports and revokes the certificates of a running edge.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Examples:
  cirrus cert list                                 those that end first foremost
  cirrus cert show shop.example
  cirrus cert issue shop.example www.shop.example  one certificate for both
  cirrus cert renew shop.example                   now, whether it is time or not
  cirrus cert import chain.pem key.pem
  cirrus cert export shop.example --key --output shop.pem
  cirrus cert revoke shop.example --compromised

`list` and `show` need no token on the edge's own machine; `export` always does. The exit status is 1 if anything failed."
)]
pub(super) struct Cert {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the certificates that are in memory or wanted
    List {
        /// How many, 1 to 100000
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Shows how one is doing
    Show {
        /// One of its names
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Obtains one certificate for all of the names
    Issue {
        /// The names in it; `*.` in front needs dns-01
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Obtains certificates anew, whether it is time or not
    Renew {
        /// A name of each
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Keeps a certificate that you have, and serves it
    Import {
        /// The chain, PEM
        chain: PathBuf,
        /// Its private key, PEM; may be the same file
        key: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Gives out a chain and, if asked, its private key
    Export {
        /// One of its names
        name: String,
        /// The private key too
        #[arg(long)]
        key: bool,
        /// Writes to a new file that only you can read, instead of standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// Has the authority revoke one; if the configuration wants it, another is obtained
    Revoke {
        /// One of its names
        name: String,
        /// Others know its private key: the next one has another
        #[arg(long)]
        compromised: bool,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
struct Common {
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

// === impl Cert ===

impl Cert {
    pub(super) fn run(self) -> Result<(), Failure> {
        serve::block_on(self.action.run())
    }
}

// === impl Action ===

impl Action {
    async fn run(self) -> Result<(), Failure> {
        match self {
            Self::List { limit, common } => {
                let path = format!("{PATH}?limit={limit}");
                let told = common.get(&path).await?;
                common.tell(&told, table)
            }
            Self::Show { name, common } => {
                let told = common.get(&format!("{PATH}/{}", encoded(&name))).await?;
                common.tell(&told, described)
            }
            Self::Issue { names, common } => common.job("issue", &json!({ "names": names })).await,
            Self::Renew { names, common } => common.job("renew", &json!({ "names": names })).await,
            Self::Import { chain, key, common } => {
                let body = json!({"chain": read(&chain)?, "key": read(&key)?});
                let told = common.post("import", &body).await?;
                common.tell(&told, described)
            }
            Self::Export {
                name,
                key,
                output,
                common,
            } => {
                let told = common
                    .post("export", &json!({"name": name, "key": key}))
                    .await?;
                common.hand_over(&told, output.as_deref())
            }
            Self::Revoke {
                name,
                compromised,
                common,
            } => {
                let body = json!({"name": name, "compromised": compromised});
                common.job("revoke", &body).await
            }
        }
    }
}

// === impl Common ===

impl Common {
    async fn get(&self, path: &str) -> Result<Value, Failure> {
        let admin = self.target.open()?;
        Ok(admin.ask(Method::GET, path, None).await?.ok()?)
    }

    async fn post(&self, action: &str, body: &Value) -> Result<Value, Failure> {
        let (admin, path) = (self.target.open()?, format!("{PATH}/{action}"));
        Ok(admin.ask(Method::POST, &path, Some(body)).await?.ok()?)
    }

    fn tell(&self, told: &Value, text: fn(&Value) -> String) -> Result<(), Failure> {
        let text = match self.json {
            true => format!("{told:#}\n"),
            false => text(told),
        };
        Ok(output::print(&text)?)
    }

    /// Begins a job, waits for its end, and says what came of it.
    async fn job(&self, action: &str, body: &Value) -> Result<(), Failure> {
        let admin = self.target.open()?;
        let path = format!("{PATH}/{action}");
        let state = admin.ask(Method::POST, &path, Some(body)).await?.ok()?;
        let state = finished(&admin, state).await?;
        self.tell(&state, outcomes)?;
        let results = state["results"].as_array().map_or(&[][..], Vec::as_slice);
        let failed = results.iter().filter(|one| one["result"] != "done").count();
        match failed {
            0 => Ok(()),
            _ => Err(format!("{failed} of {} failed", results.len()).into()),
        }
    }

    fn hand_over(&self, told: &Value, file: Option<&Path>) -> Result<(), Failure> {
        let text = match self.json {
            true => format!("{told:#}\n"),
            false => ["key", "chain"]
                .iter()
                .filter_map(|part| told[part].as_str())
                .collect(),
        };
        match file {
            None => Ok(output::print(&text)?),
            Some(file) => {
                let written = create_private(file).and_then(|mut at| at.write_all(text.as_bytes()));
                Ok(written.map_err(|error| format!("{}: {error}", file.display()))?)
            }
        }
    }
}

/// Never over a file that is there: others may be able to read that.
fn create_private(file: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(file)
}

async fn finished(admin: &Admin, mut state: Value) -> Result<Value, Failure> {
    let path = format!("{PATH}/jobs/{}", state["id"]);
    let began = tokio::time::Instant::now();
    while state["state"] == "running" {
        show(&state, began.elapsed());
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => {
                clear();
                return Err("interrupted; the edge goes on: see `cirrus cert show`".into());
            }
        }
        state = admin.ask(Method::GET, &path, None).await?.ok()?;
    }
    clear();
    Ok(state)
}

/// One line that is written over again and again, for those who watch.
fn show(state: &Value, since: Duration) {
    let mut err = std::io::stderr();
    if !err.is_terminal() {
        return;
    }
    let results = state["results"].as_array().map_or(&[][..], Vec::as_slice);
    let mut pending = results.iter().filter(|one| one["result"] == "pending");
    let next = pending.next().map_or("", |one| text(one, "name"));
    let more = match pending.count() {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    // Who cannot see it misses nothing.
    let _ = write!(
        err,
        "\r\x1b[K{next}{more}: asking the authority, {} s",
        since.as_secs()
    );
    let _ = err.flush();
}

fn clear() {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K");
        let _ = err.flush();
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file);
    Ok(text.map_err(|error| format!("{}: {error}", file.display()))?)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// For a path: names of files may have any letter.
fn encoded(name: &str) -> String {
    let mut path = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                path.push(byte.into());
            }
            // Writing to a string does not fail.
            _ => drop(write!(path, "%{byte:02X}")),
        }
    }
    path
}

fn table(told: &Value) -> String {
    let all = told["certificates"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if all.is_empty() {
        return "there are no certificates in memory\n".to_owned();
    }
    let width = all.iter().map(|one| text(one, "name").len()).max();
    let width = width.unwrap_or(0).max(4);
    let mut lines = format!(
        "{:width$}  {:9}  {:>9}  state\n",
        "name", "source", "days left"
    );
    for one in all {
        let days = one["days_left"].as_f64();
        let days = days.map_or("-".to_owned(), |days| format!("{days:.1}"));
        let (name, source, state) = (text(one, "name"), text(one, "source"), state(one));
        lines += &format!("{name:width$}  {source:9}  {days:>9}  {state}\n");
    }
    if told["total"].as_u64() > Some(all.len() as u64) {
        lines += &format!(
            "{} more: see `--limit`\n",
            told["total"].as_u64().unwrap_or(0) - all.len() as u64
        );
    }
    lines
}

fn state(one: &Value) -> String {
    match (one["last_error"].as_str(), one["days_left"].as_f64()) {
        (Some(error), _) => format!("failed {} times: {error}", one["failures"]),
        (None, None) => "not there yet".to_owned(),
        (None, Some(days)) if days < 0.0 => "expired".to_owned(),
        _ => "good".to_owned(),
    }
}

fn described(one: &Value) -> String {
    let names = one["names"].as_array().map_or(&[][..], Vec::as_slice);
    let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
    let days = one["days_left"].as_f64();
    let rows = [
        ("name", text(one, "name").to_owned()),
        ("names", names.join(", ")),
        ("source", text(one, "source").to_owned()),
        ("authority", text(one, "authority").to_owned()),
        ("ends", time(&one["not_after"])),
        (
            "days left",
            days.map_or(String::new(), |days| format!("{days:.1}")),
        ),
        ("renewed", time(&one["next_renewal"])),
        ("tried", time(&one["last_attempt"])),
        ("state", state(one)),
    ];
    let rows = rows.iter().filter(|(_, value)| !value.is_empty());
    rows.map(|(label, value)| format!("{label:9}  {value}\n"))
        .collect()
}

/// Seconds since 1970 as people read them; nothing if there are none.
fn time(seconds: &Value) -> String {
    let at = seconds.as_u64().map(cirrus_core::Timestamp::from_secs);
    at.map_or(String::new(), |at| at.to_string())
}

fn outcomes(state: &Value) -> String {
    let results = state["results"].as_array().map_or(&[][..], Vec::as_slice);
    let line = |one: &Value| match one["error"].as_str() {
        Some(error) => format!("failed  {}  ({error})\n", text(one, "name")),
        None => format!("{:6}  {}\n", text(one, "result"), text(one, "name")),
    };
    results.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_what_is_wrong() {
        let told = json!({"total": 5, "certificates": [
            {"name": "a.example", "source": "acme", "days_left": null, "last_error": "no", "failures": 2},
            {"name": "b.example", "source": "acme", "days_left": null},
            {"name": "c.example", "source": "directory", "days_left": -1.0},
            {"name": "d.example", "source": "acme", "days_left": 60.04},
        ]});
        let expected = "\
name       source     days left  state
a.example  acme               -  failed 2 times: no
b.example  acme               -  not there yet
c.example  directory       -1.0  expired
d.example  acme            60.0  good
1 more: see `--limit`
";
        assert_eq!(table(&told), expected);
    }

    #[test]
    fn names_of_files_fit_into_a_path() {
        assert_eq!(encoded("*.a-1.example"), "*.a-1.example");
        assert_eq!(encoded("a b/ü"), "a%20b%2F%C3%BC");
    }
}
