//! What is changed on the way, as meant.

use std::fmt::Display;
use std::sync::Arc;

use http::HeaderValue;

use super::policies::Written;
use super::unchecked;
use crate::config::model::{CorsConfig, HeaderEditsConfig, RewriteConfig};
use crate::middleware::{Changes, Compression, Cors, Edit, Edits, Policies, Rewrite};
use crate::routing::{PathPattern, Template};

// === impl Written ===

impl Written<'_> {
    pub(super) fn changes(self, policies: &Policies) -> Changes {
        let rewrite = self.route.and_then(|route| {
            let rewrite = route.rewrite.as_ref()?;
            Some(self::rewrite(rewrite, &route.path))
        });
        Changes {
            request_headers: self.request_headers(),
            rewrite,
            compression: self.compression(),
            max_body: self.max_body(),
            is_bare: policies.leave_responses_alone(),
        }
    }

    /// What the site sets, then what it or its route changes.
    fn request_headers(self) -> Edits {
        let set = self
            .site
            .upstream_headers
            .iter()
            .map(|(name, value)| Edit::Set(name.to_name(), value.to_value()));
        let own = self.route.and_then(|route| route.request_headers.as_ref());
        let edits = own.or(self.site.request_headers.as_ref());
        set.chain(edits.into_iter().flat_map(edits_of)).collect()
    }

    pub(super) fn response_headers(self) -> Option<Edits> {
        let own = self.route.and_then(|route| route.response_headers.as_ref());
        let edits = own.or(self.site.response_headers.as_ref())?;
        Some(edits_of(edits).collect())
    }

    fn compression(self) -> Option<Arc<Compression>> {
        let own = self.route.and_then(|route| route.compression.as_ref());
        let config = own
            .or(self.site.compression.as_ref())
            .filter(|config| config.enable)?;
        Some(Arc::new(Compression {
            offered: config.algorithms.clone(),
            types: config.types.clone(),
            min_size: config.min_size.bytes(),
            level: config.level,
        }))
    }

    pub(super) fn cors(self) -> Option<Cors> {
        let own = self.route.and_then(|route| route.cors.as_ref());
        own.or(self.site.cors.as_ref()).map(cors)
    }
}

fn edits_of(config: &HeaderEditsConfig) -> impl Iterator<Item = Edit> + '_ {
    let remove = config
        .remove
        .iter()
        .map(|name| Edit::Remove(name.to_name()));
    let set = config
        .set
        .iter()
        .map(|(name, value)| Edit::Set(name.to_name(), value.to_value()));
    let add = config
        .add
        .iter()
        .map(|(name, value)| Edit::Add(name.to_name(), value.to_value()));
    remove.chain(set).chain(add)
}

fn rewrite(config: &RewriteConfig, path: &PathPattern) -> Rewrite {
    if let Some(to) = &config.path {
        let to = Template::parse(to.as_str()).unwrap_or_else(|_| unchecked());
        return Rewrite::Whole {
            to,
            path: path.clone(),
        };
    }
    let text = |prefix: &Option<PathPattern>| {
        let prefix = prefix.as_ref().and_then(PathPattern::as_exact);
        prefix.unwrap_or_default().to_owned()
    };
    Rewrite::prefix(&text(&config.strip_prefix), &text(&config.add_prefix))
}

fn cors(config: &CorsConfig) -> Cors {
    Cors {
        origins: config.origins.clone(),
        methods: list(&config.methods),
        headers: list(&config.headers),
        expose: list(&config.expose),
        credentials: config.credentials,
        max_age: config
            .max_age
            .map(|age| HeaderValue::from(age.as_duration().as_secs())),
    }
}

/// As a header field writes it; `None` for an empty one.
fn list(members: &[impl Display]) -> Option<HeaderValue> {
    let members: Vec<_> = members.iter().map(ToString::to_string).collect();
    let list = HeaderValue::try_from(members.join(", ")).ok()?;
    (!list.is_empty()).then_some(list)
}
