//! One watch: asks again whenever what it knows is over.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cirrus_core::BoxError;
use cirrus_core::discovery::{Endpoint, Endpoints};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RecordType;
use tokio::time::{Instant, sleep_until};

use super::Dns;
use super::answer::{self, Found, NoAnswer, Target};
use super::question::{Form, Question};

/// How many targets are resolved at the same time.
const AT_ONCE: usize = 16;

/// What the weights of SRV records are multiplied with where one of them is 0, which is "hardly any" there and "none at
/// all" here.
const SPREAD: u16 = 100;

pub(super) struct Watch {
    dns: Dns,
    question: Question,
    resolver: Option<TokioResolver>,
    /// The last good answer for each name and family.
    known: HashMap<(Arc<str>, RecordType), Vec<IpAddr>>,
    /// When to ask; at the beginning at once.
    due: Option<Instant>,
}

/// Addresses of a name, and how long they hold at the most.
struct Located {
    addresses: Vec<IpAddr>,
    ttl: Duration,
}

// === impl Watch ===

impl Watch {
    pub(super) fn new(dns: Dns, question: Question) -> Self {
        Self {
            dns,
            question,
            resolver: None,
            known: HashMap::new(),
            due: None,
        }
    }

    pub(super) async fn next(&mut self) -> Result<Endpoints, BoxError> {
        if let Some(due) = self.due {
            sleep_until(due).await;
        }
        let answer = self.ask().await;
        let wait = match &answer {
            Ok(found) => found.ttl.clamp(self.dns.min_ttl, self.dns.max_ttl),
            Err(_) => {
                // The machine may have been told to ask others meanwhile.
                self.resolver = None;
                self.dns.retry
            }
        };
        self.due = Some(Instant::now() + wait);
        answer.map(|mut found| {
            // Servers turn their answers round: that is no change.
            found
                .records
                .sort_by(|one, other| one.url.as_str().cmp(other.url.as_str()));
            found.records.into_iter().collect()
        })
    }

    async fn ask(&mut self) -> Result<Found<Endpoint>, BoxError> {
        let resolver = match &self.resolver {
            Some(resolver) => resolver.clone(),
            None => answer::resolver(&self.dns.servers, self.dns.timeout)?,
        };
        self.resolver = Some(resolver.clone());
        let found = match self.question.form {
            Form::Addresses(port) => self.addresses(&resolver, port).await?,
            Form::Targets => self.targets(&resolver).await?,
        };
        Ok(found)
    }

    async fn addresses(
        &mut self,
        resolver: &TokioResolver,
        port: u16,
    ) -> Result<Found<Endpoint>, NoAnswer> {
        let name = Arc::clone(&self.question.name);
        let found = locate(resolver, &name).await;
        let located = self.located(&name, found)?;
        let endpoint = |address| self.question.endpoint(address, port, &name);
        Ok(Found {
            records: located.addresses.into_iter().filter_map(endpoint).collect(),
            ttl: located.ttl,
        })
    }

    async fn targets(&mut self, resolver: &TokioResolver) -> Result<Found<Endpoint>, NoAnswer> {
        let mut found = answer::targets(resolver, &self.question.name).await?;
        found.records.sort_by_key(|target| target.priority);
        let mut failure = None;
        for tier in found
            .records
            .chunk_by(|one, other| one.priority == other.priority)
        {
            match self.tier(resolver, tier).await {
                Ok(tier) => {
                    return Ok(Found {
                        ttl: found.ttl.min(tier.ttl),
                        records: tier.records,
                    });
                }
                Err(why) => failure = Some(why),
            }
        }
        match failure {
            Some(why) => Err(why),
            None => Ok(Found {
                records: Vec::new(),
                ttl: found.ttl,
            }),
        }
    }

    /// The endpoints behind targets of one priority. One that cannot be resolved is left out, as long as another can.
    async fn tier(
        &mut self,
        resolver: &TokioResolver,
        targets: &[Target],
    ) -> Result<Found<Endpoint>, NoAnswer> {
        let mut all = Found {
            records: Vec::new(),
            ttl: Duration::MAX,
        };
        let mut failure = None;
        for (target, found) in targets.iter().zip(lookups(resolver, targets).await) {
            match self.located(&target.name, found) {
                Ok(located) => {
                    all.ttl = all.ttl.min(located.ttl);
                    let weight = target.weight.saturating_mul(factor(targets)).max(1);
                    all.records.extend(self.endpoints(target, located, weight));
                }
                Err(why) => {
                    tracing::debug!(%why, "a target is left out");
                    failure = Some(why);
                }
            }
        }
        match failure {
            Some(why) if all.records.is_empty() => Err(why),
            // What is missing is looked for again soon.
            Some(_) => {
                all.ttl = all.ttl.min(self.dns.retry);
                Ok(all)
            }
            None => Ok(all),
        }
    }

    fn endpoints(
        &self,
        target: &Target,
        located: Located,
        weight: u16,
    ) -> impl Iterator<Item = Endpoint> {
        let addresses = located.addresses.into_iter();
        let endpoint = |address| self.question.endpoint(address, target.port, &target.name);
        let endpoints = addresses.filter_map(endpoint);
        endpoints.map(move |endpoint| endpoint.with_weight(weight))
    }

    /// Both families together. One that could not be asked for stays as it was.
    fn located(&mut self, name: &Arc<str>, both: [Answer; 2]) -> Result<Located, NoAnswer> {
        let mut all = Located {
            addresses: Vec::new(),
            ttl: Duration::MAX,
        };
        let (mut is_found, mut failure) = (false, None);
        for (family, answer) in both {
            let key = (Arc::clone(name), family);
            match answer {
                Ok(found) => {
                    is_found = true;
                    if !found.records.is_empty() || all.ttl == Duration::MAX {
                        all.ttl = all.ttl.min(found.ttl);
                    }
                    all.addresses.extend(&found.records);
                    self.known.insert(key, found.records);
                }
                Err(why) => {
                    if let NoAnswer::Failed { .. } = &why {
                        let known = self.known.get(&key);
                        all.addresses.extend(known.into_iter().flatten());
                        all.ttl = all.ttl.min(self.dns.retry);
                    }
                    failure = Some(why);
                }
            }
        }
        match failure {
            Some(why) if !is_found => Err(why),
            _ => Ok(all),
        }
    }
}

type Answer = (RecordType, Result<Found<IpAddr>, NoAnswer>);

async fn locate(resolver: &TokioResolver, name: &Arc<str>) -> [Answer; 2] {
    let (four, six) = futures_util::future::join(
        answer::addresses(resolver, name, RecordType::A),
        answer::addresses(resolver, name, RecordType::AAAA),
    )
    .await;
    [(RecordType::A, four), (RecordType::AAAA, six)]
}

/// Every target's answers, in their order.
async fn lookups(resolver: &TokioResolver, targets: &[Target]) -> Vec<[Answer; 2]> {
    let lookups = targets.iter().map(|target| {
        let (resolver, name) = (resolver.clone(), Arc::clone(&target.name));
        async move { locate(&resolver, &name).await }.boxed()
    });
    let lookups: Vec<BoxFuture<'static, _>> = lookups.collect();
    stream::iter(lookups).buffered(AT_ONCE).collect().await
}

/// What the weights of these are multiplied with.
fn factor(targets: &[Target]) -> u16 {
    match targets.iter().any(|target| target.weight == 0) {
        true => SPREAD,
        false => 1,
    }
}
