//! `cirrus prefetch`.

use std::io::{IsTerminal, Read, Write};
use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};

use crate::admin::{Admin, Target, batches};
use crate::failure::Failure;
use crate::{output, serve};

/// Most URLs of one job.
const MOST_URLS: usize = 10_000;

/// How often a job is asked how far it is.
const LOOK: Duration = Duration::from_millis(250);

/// Has an edge store responses before anybody asks for them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cirrus prefetch https://shop.example/ https://shop.example/news
  cirrus prefetch urls.txt                        a URL on each line; `#` begins a comment
  sitemap-urls | cirrus prefetch - --concurrency 32
  cirrus prefetch urls.txt --header 'Accept-Encoding: br'

The requests come from the edge itself, as 127.0.0.1, and are answered as anybody's: what is stored already, and fresh, is
not fetched again. The exit status is 1 if any URL failed. Ctrl-C ends the job.")]
pub(super) struct Prefetch {
    /// URLs, files with URLs, or `-` for standard input
    #[arg(value_name = "FILE|URL", required = true)]
    sources: Vec<String>,
    /// Requests at the same time, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    concurrency: u16,
    /// A header field for every request, `Name: value`
    #[arg(long, value_name = "FIELD", value_parser = field)]
    header: Vec<(String, String)>,
    /// Prints what was done as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

// === impl Prefetch ===

impl Prefetch {
    pub(super) fn run(self) -> Result<(), Failure> {
        let urls = self.urls()?;
        if urls.is_empty() {
            return Err("there are no URLs in what was given".into());
        }
        serve::block_on(self.fetch(&urls))
    }

    fn urls(&self) -> Result<Vec<String>, Failure> {
        let mut urls = Vec::new();
        for source in &self.sources {
            if source.contains("://") {
                urls.push(source.clone());
                continue;
            }
            let mut text = String::new();
            let read = match source.as_str() {
                "-" => std::io::stdin().read_to_string(&mut text),
                path => {
                    std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
                }
            };
            read.map_err(|error| format!("{source}: {error}"))?;
            let lines = text.lines().map(str::trim);
            let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
            urls.extend(lines.map(ToOwned::to_owned));
        }
        Ok(urls)
    }

    async fn fetch(&self, urls: &[String]) -> Result<(), Failure> {
        let admin = self.target.open()?;
        let mut jobs = Vec::new();
        for batch in batches(urls, MOST_URLS, String::len) {
            jobs.push(self.job(&admin, batch).await?);
        }
        if self.json {
            output::print(&format!("{:#}\n", json!({ "jobs": jobs })))?;
        } else {
            output::print(&report(&jobs))?;
        }
        match sum(&jobs, "failed") {
            0 => Ok(()),
            failed => Err(format!("{failed} of {} could not be fetched", urls.len()).into()),
        }
    }

    /// Begins a job and waits for its end.
    async fn job(&self, admin: &Admin, urls: Vec<String>) -> Result<Value, Failure> {
        let headers = self.header.iter();
        let headers: Map<_, _> = headers
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        let body = json!({"urls": urls, "concurrency": self.concurrency, "headers": headers});
        let path = "/api/v1/cache/prefetch";
        let mut state = admin.ask(Method::POST, path, Some(&body)).await?.ok()?;
        let path = format!("{path}/{}", state["id"]);
        while state["state"] == "running" {
            show(&state);
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = tokio::signal::ctrl_c() => {
                    admin.ask(Method::DELETE, &path, None).await?.ok()?;
                    clear();
                    return Err("interrupted; what was fetched stays in the cache".into());
                }
            }
            state = admin.ask(Method::GET, &path, None).await?.ok()?;
        }
        clear();
        if state["state"] != "finished" {
            return Err("somebody has canceled the job".into());
        }
        Ok(state)
    }
}

/// `Name: value`.
fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("`Name: value` is expected".to_owned()),
    }
}

/// One line that is written over again and again, for those who watch.
fn show(state: &Value) {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        let (gone, failed) = (sum(std::slice::from_ref(state), "done"), &state["failed"]);
        // Who cannot see it misses nothing.
        let _ = write!(
            err,
            "\r\x1b[K{gone} of {} done, {failed} failed",
            state["total"]
        );
        let _ = err.flush();
    }
}

fn clear() {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K");
        let _ = err.flush();
    }
}

fn sum(jobs: &[Value], name: &str) -> u64 {
    jobs.iter().filter_map(|job| job[name].as_u64()).sum()
}

fn report(jobs: &[Value]) -> String {
    let mut text = String::new();
    let failures = jobs.iter().filter_map(|job| job["failures"].as_array());
    for failure in failures.flatten() {
        let word = |name: &str| failure[name].as_str().unwrap_or_default();
        text += &format!("failed  {}  ({})\n", word("url"), word("reason"));
    }
    let of = |name| sum(jobs, name);
    text + &format!(
        "{} fetched, {} stored, {} there already, {} failed, {} bytes\n",
        of("done"),
        of("stored"),
        of("hits"),
        of("failed"),
        of("bytes")
    )
}
