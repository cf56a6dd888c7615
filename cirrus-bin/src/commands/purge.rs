//! `cirrus purge`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use cirrus_cache::FileLog;
use cirrus_core::cache::{InvalidSelection, Mode, Purge as Entry, Selection};
use clap::Args;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::admin::{Target, batches};
use crate::failure::Failure;
use crate::findings::counted;
use crate::{output, serve};

/// Most things that one request brings.
const MOST_ITEMS: usize = 1000;

/// Removes responses from the cache of a running edge, or of all that follow a log.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cirrus purge https://shop.example/page          all variants of one URL
  cirrus purge --prefix shop.example/img/         everything below, http and https
  cirrus purge --tag news --tag weather --soft    what has these labels may be served stale while it is revalidated
  cirrus purge --all --log /shared/purges.log     for every edge that follows this file, running or not

An edge wants a token for this, unless it says `open = true`: one of those in `[admin] tokens`, from a file or from the
variable CIRRUS_TOKEN. The exit status is 1 if anything could not be purged.")]
pub(super) struct Purge {
    /// URLs to purge, `https://host/path`
    #[arg(value_name = "URL", required_unless_present_any = ["prefix", "tag", "host", "all"])]
    urls: Vec<String>,
    /// Everything that begins with this: `host/path`
    #[arg(long)]
    prefix: Vec<String>,
    /// Everything with this label in `Surrogate-Key` or `Cache-Tag`
    #[arg(long)]
    tag: Vec<String>,
    /// Everything of this host
    #[arg(long)]
    host: Vec<String>,
    /// Everything
    #[arg(long)]
    all: bool,
    /// Only makes stale what it concerns
    #[arg(long)]
    soft: bool,
    /// Appends to this purge log instead of asking an edge
    #[arg(long, value_name = "FILE", conflicts_with_all = ["admin", "token_file"])]
    log: Option<PathBuf>,
    /// Prints what was done as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// The list that a thing to purge stands in, and the thing.
type Item = (&'static str, String);

// === impl Purge ===

impl Purge {
    pub(super) fn run(self) -> Result<(), Failure> {
        let results = match &self.log {
            Some(file) => self.append(file)?,
            None => serve::block_on(self.ask())?,
        };
        let failed = results.iter().filter(|result| result["result"] == "failed");
        let failed = failed.count();
        output::print(&self.report(&results))?;
        match failed {
            0 => Ok(()),
            _ => Err(format!("{failed} of {} could not be purged", results.len()).into()),
        }
    }

    fn items(&self) -> Vec<Item> {
        let lists = [
            ("urls", &self.urls),
            ("prefixes", &self.prefix),
            ("tags", &self.tag),
            ("hosts", &self.host),
        ];
        let named = lists.into_iter().flat_map(|(list, texts)| {
            let texts = texts.iter().cloned();
            texts.map(move |text| (list, text))
        });
        let all = self.all.then(|| ("all", "*".to_owned()));
        named.chain(all).collect()
    }

    async fn ask(&self) -> Result<Vec<Value>, Failure> {
        let admin = self.target.open()?;
        let mut results = Vec::new();
        for batch in batches(&self.items(), MOST_ITEMS, |(_, text)| text.len()) {
            let body = self.body(&batch);
            let path = "/api/v1/cache/purge";
            let answer = admin.ask(Method::POST, path, Some(&body)).await?;
            // Some of them failed: the answer says which.
            let told = answer.status == StatusCode::UNPROCESSABLE_ENTITY;
            if !told && !answer.status.is_success() {
                return Err(answer.refusal().into());
            }
            results.extend(
                answer.body["results"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default(),
            );
        }
        Ok(results)
    }

    fn body(&self, batch: &[Item]) -> Value {
        let mut body = json!({"soft": self.soft});
        for (list, text) in batch {
            match *list {
                "all" => body["all"] = true.into(),
                list if body[list].is_array() => {
                    if let Some(texts) = body[list].as_array_mut() {
                        texts.push(text.as_str().into());
                    }
                }
                list => body[list] = json!([text]),
            }
        }
        body
    }

    /// All of them or none: nobody answers whom half of it could be told.
    fn append(&self, file: &Path) -> Result<Vec<Value>, Failure> {
        if !file.exists() {
            return Err(
                format!("{}: there is no such log; an edge makes it", file.display()).into(),
            );
        }
        let mode = if self.soft { Mode::Soft } else { Mode::Hard };
        let items = self.items();
        let mut purges = Vec::with_capacity(items.len());
        for (list, text) in &items {
            let what = selection(list, text).map_err(|error| format!("{text}: {error}"))?;
            purges.push(match mode {
                Mode::Soft => Entry::soft(what),
                Mode::Hard => Entry::hard(what),
            });
        }
        FileLog::open(file)?.append_blocking(&purges)?;
        let told = items
            .iter()
            .map(|(list, text)| json!({"kind": kind(list), "item": text, "result": "logged"}));
        Ok(told.collect())
    }

    fn report(&self, results: &[Value]) -> String {
        if self.json {
            let told = json!({"soft": self.soft, "results": results});
            return format!("{told:#}\n");
        }
        let mut text = String::new();
        for result in results {
            let word = |name: &str| result[name].as_str().unwrap_or_default();
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "{:7} {:6} {}",
                word("result"),
                word("kind"),
                word("item")
            );
            if let Some(objects) = result["objects"].as_u64() {
                let objects = usize::try_from(objects).unwrap_or(usize::MAX);
                let _ = write!(text, "  ({})", counted(objects, "object"));
            }
            if let Some(error) = result["error"].as_str() {
                let _ = write!(text, "  ({error})");
            }
            text.push('\n');
        }
        text
    }
}

fn selection(list: &str, text: &str) -> Result<Selection, InvalidSelection> {
    match list {
        "urls" => Selection::of_url(text),
        "prefixes" => Selection::of_prefix(text),
        "tags" => Selection::of_tag(text),
        "hosts" => Selection::of_host(text),
        _ => Ok(Selection::All),
    }
}

fn kind(list: &str) -> &str {
    match list {
        "prefixes" => "prefix",
        "all" => "all",
        list => list.trim_end_matches('s'),
    }
}
