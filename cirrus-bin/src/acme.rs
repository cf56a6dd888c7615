//! From `[certificates.acme]` to a provider.

use std::path::Path;
use std::sync::Arc;

use cirrus_core::BoxError;
use cirrus_core::config::{
    AcmeAuthorityConfig, AcmeChallenge, AcmeConfig, AcmeDnsConfig, AcmeRedisConfig,
};
use cirrus_tls::acme::{
    Acme, AcmeDns, Authority, CertStore, Challenge, DiskStore, DnsSolver, OnDemand, Propagation,
    Renewal, Rfc2136, Script, TsigKey, Wanted,
};

/// The provider that `config` describes.
///
/// # Errors
///
/// A file that it names cannot be read, or the state not be kept.
pub(crate) fn provider(config: &AcmeConfig) -> Result<Acme, BoxError> {
    let store = store(config)?;
    let solver = config.dns.as_ref().map(|dns| solver(dns, &store));
    let solver = solver.transpose()?;
    let mut renewal = Renewal::default();
    renewal.before = config.renew_before.into();
    renewal.in_flight = config.in_flight as usize;
    renewal.reuse_key = config.reuse_key;
    let mut builder = Acme::builder(store)
        .contact(config.contact.iter().cloned())
        .capacity(config.memory as usize)
        .renewal(renewal);
    // Only what an operator orders by hand needs it.
    if let Ok(challenge) = challenge(config.challenge, solver.as_ref()) {
        builder = builder.challenge(challenge);
    }
    for one in &config.authority {
        builder = builder.authority(authority(one)?);
    }
    if config.authority.is_empty() {
        builder = builder.authority(Authority::lets_encrypt());
    }
    for one in &config.certificate {
        let kind = one.challenge.unwrap_or(config.challenge);
        let wanted = Wanted::new(one.names.iter().cloned()).by(challenge(kind, solver.as_ref())?);
        builder = builder.want(match &one.profile {
            Some(profile) => wanted.with_profile(profile),
            None => wanted,
        });
    }
    if let Some(one) = &config.on_demand {
        let on_demand = OnDemand::matching(one.allow.iter().cloned())
            .by(challenge(config.challenge, solver.as_ref())?);
        builder = builder.on_demand(match &one.ask {
            Some(url) => on_demand.asking(url)?,
            None => on_demand,
        });
    }
    builder.build()
}

fn store(config: &AcmeConfig) -> Result<Arc<dyn CertStore>, BoxError> {
    match &config.redis {
        Some(redis) => self::redis(redis),
        None => Ok(Arc::new(DiskStore::open(&config.state)?)),
    }
}

#[cfg(feature = "redis")]
fn redis(config: &AcmeRedisConfig) -> Result<Arc<dyn CertStore>, BoxError> {
    let url = config.url.as_ref();
    let url = url.ok_or("`certificates.acme.redis` needs `url`")?;
    let store = cirrus_tls::acme::RedisStore::new(url.as_str(), &config.prefix)?;
    Ok(Arc::new(store))
}

#[cfg(not(feature = "redis"))]
fn redis(_: &AcmeRedisConfig) -> Result<Arc<dyn CertStore>, BoxError> {
    Err("`certificates.acme.redis` is not built into this program: build it with the feature `redis`".into())
}

fn authority(config: &AcmeAuthorityConfig) -> Result<Authority, BoxError> {
    let mut authority = Authority::new(&config.name, &config.url);
    if let Some(ca) = &config.ca {
        authority = authority.with_roots(read(ca)?);
    }
    if let Some(profile) = &config.profile {
        authority = authority.with_profile(profile);
    }
    if let (Some(id), Some(file)) = (&config.binding_id, &config.binding_key_file) {
        let key = cirrus_tls::acme::binding_key(&read(file)?);
        let key = key.map_err(|error| format!("{}: {error}", file.display()))?;
        authority = authority.with_binding(id, key);
    }
    Ok(authority)
}

fn challenge(
    kind: AcmeChallenge,
    solver: Option<&Arc<dyn DnsSolver>>,
) -> Result<Challenge, BoxError> {
    match kind {
        AcmeChallenge::Http01 => Ok(Challenge::Http01),
        AcmeChallenge::TlsAlpn01 => Ok(Challenge::TlsAlpn01),
        _ => match solver {
            Some(solver) => Ok(Challenge::Dns01(Arc::clone(solver))),
            None => Err("`dns-01` needs `[certificates.acme.dns]`".into()),
        },
    }
}

fn solver(
    config: &AcmeDnsConfig,
    store: &Arc<dyn CertStore>,
) -> Result<Arc<dyn DnsSolver>, BoxError> {
    let mut propagation = Propagation::default();
    propagation.resolvers.clone_from(&config.resolvers);
    propagation.servers.clone_from(&config.servers);
    propagation.limit = config.wait.into();
    if let Some(api) = &config.acme_dns {
        let solver = AcmeDns::new(api, Arc::clone(store))?;
        return Ok(Arc::new(solver.with_propagation(propagation)));
    }
    if let Some(program) = &config.script {
        return Ok(Arc::new(Script::new(program).with_propagation(propagation)));
    }
    let server = config
        .update
        .ok_or("`certificates.acme.dns` needs `update`")?;
    let mut solver = Rfc2136::new(server).with_propagation(propagation);
    if let (Some(name), Some(file)) = (&config.key, &config.key_file) {
        let key = TsigKey::new(name, &config.algorithm, &read(file)?);
        let key = key.map_err(|error| format!("{}: {error}", file.display()))?;
        solver = solver.with_key(key);
    }
    Ok(Arc::new(solver))
}

fn read(file: &Path) -> Result<String, BoxError> {
    let read = std::fs::read_to_string(file);
    read.map_err(|error| format!("{}: {error}", file.display()).into())
}
