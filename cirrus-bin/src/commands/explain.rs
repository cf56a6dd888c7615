//! `cirrus explain`.

use std::path::PathBuf;

use clap::Args;
use http::Method;

use cirrus_core::explain::{Explanation, InvalidQuestion, Question, explain};
use cirrus_discovery::File;

use crate::failure::Failure;
use crate::output;
use crate::wire;

/// Tells what a configuration makes of a request, without sending it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cirrus explain --config cirrus.toml https://shop.example/page?id=1
  cirrus explain --config cirrus.toml -H 'Cookie: session=1' https://shop.example/
  cirrus explain --config cirrus.toml -X POST --json https://shop.example/basket

Site, route, policies, and what the cache would look for. What is stored is known to a running server only:
`GET /api/v1/explain?url=…&method=…&header=…` on its admin listener tells that as well.")]
pub(super) struct Explain {
    /// The configuration, TOML or JSON
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// A header field of the request; `Host` takes the place of the URL's
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The method of the request
    #[arg(long, short = 'X', default_value = "GET")]
    method: Method,
    /// For programs
    #[arg(long)]
    json: bool,
    /// What is asked for, `http` or `https`
    url: String,
}

// === impl Explain ===

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        let question = self.question()?;
        let (config, _) = File::at(&self.config).load()?;
        let abilities = wire::abilities(&config);
        let explanation = explain(config, abilities, &question)?;
        output::print(&self.written(&explanation))?;
        Ok(())
    }

    fn question(&self) -> Result<Question, InvalidQuestion> {
        let question = Question::of(&self.url)?.with_method(self.method.clone());
        self.header
            .iter()
            .try_fold(question, |question, line| question.with_header(line))
    }

    fn written(&self, explanation: &Explanation) -> String {
        if self.json {
            return format!("{:#}\n", serde_json::json!(explanation));
        }
        explanation.to_string()
    }
}
